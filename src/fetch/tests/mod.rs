//! What it reaches and what it does not.
