//! Which endpoint a request goes to. Outlives phases: the rotation counts all requests of a run.

/// How endpoints are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointSelection {
    /// One after the other, over all requests.
    RoundRobin,
    /// Prompt `i` always goes to endpoint `i` mod n.
    Pinned,
}

/// Chooses the endpoint of a request.
#[derive(Debug)]
pub struct Rotation {
    selection: EndpointSelection,
    n_endpoints: usize,
    next: usize,
    /// Requests in flight per endpoint.
    pub(crate) active: Vec<u32>,
}

impl Rotation {
    /// A rotation that starts at the first endpoint.
    #[must_use]
    pub fn new(selection: EndpointSelection, n_endpoints: usize) -> Self {
        Self {
            selection,
            n_endpoints: n_endpoints.max(1),
            next: 0,
            active: vec![0; n_endpoints.max(1)],
        }
    }

    /// How endpoints are chosen.
    #[must_use]
    pub fn selection(&self) -> EndpointSelection {
        self.selection
    }

    /// Number of endpoints.
    #[must_use]
    pub fn n_endpoints(&self) -> usize {
        self.n_endpoints
    }

    /// The endpoint for a request built on working-set prompt `index`.
    pub fn choose(&mut self, index: Option<usize>) -> usize {
        if let (EndpointSelection::Pinned, Some(index)) = (self.selection, index) {
            return index % self.n_endpoints;
        }
        let chosen = self.next;
        self.next = (self.next + 1) % self.n_endpoints;
        chosen
    }
}
