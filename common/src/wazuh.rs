//! How Wazuh calls us and what it expects back.

pub mod active_response;
pub mod config;
pub mod paths;
pub mod wodle;
