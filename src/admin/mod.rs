//! Health, metrics, API and the dashboard: renderings of one snapshot.
