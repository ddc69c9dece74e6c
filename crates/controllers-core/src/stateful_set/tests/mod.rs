mod claims;
mod events;
mod properties;
mod rollouts;
mod statements;
mod tables;
mod world;
