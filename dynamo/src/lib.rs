//! Quorate dynamo.
