//! The control plane: store, observe, plan, execute, and the API.
