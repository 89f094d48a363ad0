//! The functions, one file a family. A file holds for each of its functions the accepted forms,
//! the typing and the evaluation.

#![allow(clippy::ptr_arg, reason = "resolvers share one signature: some add arguments")]

use crate::function::Function;

mod arithmetic;
pub(crate) mod catalog;
mod collection;
mod comparison;
mod conditional;
mod equality;
mod hash;
mod interval;
mod json;
mod json_text;
mod logic;
mod math;
mod printf;
mod random;
pub(crate) mod regexp;
mod string;
mod support;
mod temporal;

/// All functions that are built.
pub(crate) const FAMILIES: &[&[Function]] = &[
    arithmetic::FUNCTIONS,
    collection::FUNCTIONS,
    comparison::FUNCTIONS,
    conditional::FUNCTIONS,
    hash::FUNCTIONS,
    json::FUNCTIONS,
    json_text::FUNCTIONS,
    logic::FUNCTIONS,
    math::FUNCTIONS,
    printf::FUNCTIONS,
    random::FUNCTIONS,
    regexp::FUNCTIONS,
    string::FUNCTIONS,
    temporal::FUNCTIONS,
];
