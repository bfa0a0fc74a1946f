//! Nothing of a run is lost when somebody is killed.
