//! What a raw request must be before anything else looks at it: pure, a table of refusals.
