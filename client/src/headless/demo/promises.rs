//! What the demo promises, and what became of it.

/// Everything that was promised so far.
#[derive(Debug, Default)]
pub(super) struct Promises(Vec<(String, bool)>);

impl Promises {
    /// Notes whether a promise held.
    pub(super) fn note(&mut self, promise: impl Into<String>, held: bool) {
        self.0.push((promise.into(), held));
    }

    /// The sentences of those that did not hold.
    pub(super) fn broken(&self) -> Vec<&str> {
        let broken = self.0.iter().filter(|(_, held)| !held);
        broken.map(|(promise, _)| promise.as_str()).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }
}
