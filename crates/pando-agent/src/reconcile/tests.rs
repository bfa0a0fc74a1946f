mod boot;
mod kit;
mod life;
mod prop;
mod releases;
mod tasks;
