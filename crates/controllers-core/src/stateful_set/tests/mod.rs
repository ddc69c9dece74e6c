mod properties;
mod tables;
mod world;
