//! The user's file, parsed, checked and lowered to a specification; every problem at once, pointed at.
