//! The whole judgement of the system: one pure function from what is wanted and what is seen to what to do.
