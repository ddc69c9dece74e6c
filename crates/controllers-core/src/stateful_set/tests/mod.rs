mod claims;
mod events;
mod properties;
mod rollouts;
mod scenario;
mod statements;
mod tables;
mod world;
