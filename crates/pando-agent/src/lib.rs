//! Makes one server match its assignment and reports what is true.
