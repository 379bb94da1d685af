//! The edge (stand-in).
mod openapi;
mod pages;
