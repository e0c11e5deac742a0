//! Metrics: the status as figures, in OpenMetrics' text format.

use crate::api::{Refusal, Shared, on_disk};
use crate::status::Status;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use fieldfit_store::{LATENCY_BOUNDS, RuntimeStatus};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;

/// The format that [`encode`] writes.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, Refusal> {
    let status = on_disk(&shared, |shared| Ok(shared.status()?)).await?;
    let text = text(status).map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error))?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

/// Returns the figures of a status.
fn text(status: Arc<Status>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Figures(status)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Figures(Arc<Status>);

/// Labels of a figure.
type Labels = Vec<(&'static str, String)>;

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let published: Vec<_> = self.0.runtimes.iter().map(|figures| &figures.runtime).collect();
        runtimes(&mut encoder, &published)?;
        versions(&mut encoder, &self.0)?;
        adaptation(&mut encoder, &self.0)?;
        collection(&mut encoder, &self.0)
    }
}

fn runtimes(encoder: &mut DescriptorEncoder, runtimes: &[&RuntimeStatus]) -> fmt::Result {
    counter(encoder, ("fieldfit_frames", "Frames that were answered"), runtimes, |runtime| runtime.frames)?;
    counter(encoder, ("fieldfit_failures", "Frames that were not answered"), runtimes, |runtime| runtime.failures)?;
    latency(encoder, runtimes)?;
    let (confidence, agreement) = (
        "Mean probability of the top class over the latest frames",
        "Share of compared frames that get the base's class",
    );
    share(encoder, ("fieldfit_confidence", confidence), runtimes, |runtime| runtime.confidence)?;
    share(encoder, ("fieldfit_base_agreement", agreement), runtimes, |runtime| runtime.agreement)
}

/// Encodes a figure of each process that only grows.
fn counter(
    encoder: &mut DescriptorEncoder,
    (name, help): (&str, &str),
    runtimes: &[&RuntimeStatus],
    value: fn(&RuntimeStatus) -> u64,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for runtime in runtimes {
        metric.encode_family(&labels_of(runtime))?.encode_counter::<Labels, _, f64>(&value(runtime), None)?;
    }
    Ok(())
}

/// Encodes a share of each process that knows it.
fn share(
    encoder: &mut DescriptorEncoder,
    (name, help): (&str, &str),
    runtimes: &[&RuntimeStatus],
    value: fn(&RuntimeStatus) -> Option<f64>,
) -> fmt::Result {
    gauge(encoder, name, help, |metric| {
        for runtime in runtimes {
            if let Some(value) = value(runtime) {
                metric.encode_family(&labels_of(runtime))?.encode_gauge(&value)?;
            }
        }
        Ok(())
    })
}

fn latency(encoder: &mut DescriptorEncoder, runtimes: &[&RuntimeStatus]) -> fmt::Result {
    let help = "Time that answered frames took";
    let mut metric = encoder.encode_descriptor("fieldfit_infer_seconds", help, None, MetricType::Histogram)?;
    for runtime in runtimes {
        let latency = &runtime.latency;
        let bounds = LATENCY_BOUNDS.into_iter().chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(latency.counts).collect();
        let labels = labels_of(runtime);
        let mut family = metric.encode_family(&labels)?;
        family.encode_histogram::<Labels>(latency.seconds, latency.frames(), &buckets, None)?;
    }
    Ok(())
}

fn labels_of(runtime: &RuntimeStatus) -> Labels {
    vec![("process", runtime.process.to_string()), ("version", version_name(runtime.version))]
}

fn version_name(version: Option<u32>) -> String {
    version.map_or_else(|| "base".to_owned(), |version| version.to_string())
}

fn versions(encoder: &mut DescriptorEncoder, status: &Status) -> fmt::Result {
    gauge(encoder, "fieldfit_active_version", "Number of the active version, 0 for the base", |metric| {
        metric.encode_gauge(&f64::from(status.active.unwrap_or(0)))
    })?;
    gauge(encoder, "fieldfit_generation", "Number of changes of the active version", |metric| {
        metric.encode_gauge(&(status.generation as f64))
    })?;
    gauge(encoder, "fieldfit_store_bytes", "Bytes of the versions' files", |metric| {
        metric.encode_gauge(&(status.bytes as f64))
    })?;
    gauge(encoder, "fieldfit_version_state", "1 for the state of each version", |metric| {
        status.versions.iter().try_for_each(|version| {
            let labels: Labels = vec![("version", version.version.to_string()), ("state", version.state.to_owned())];
            metric.encode_family(&labels)?.encode_gauge(&1.0)
        })
    })
}

fn adaptation(encoder: &mut DescriptorEncoder, status: &Status) -> fmt::Result {
    gauge(encoder, "fieldfit_adapting", "Whether an adaptation runs", |metric| {
        metric.encode_gauge(&f64::from(u8::from(status.adapting)))
    })?;
    let Some(adaptation) = &status.adaptation else { return Ok(()) };
    gauge(encoder, "fieldfit_adaptation_step", "Optimiser steps of the last adaptation", |metric| {
        metric.encode_gauge(&(adaptation.step as f64))
    })?;
    let Some(last) = adaptation.losses.last() else { return Ok(()) };
    gauge(encoder, "fieldfit_adaptation_loss", "Training loss of the last adaptation, in nats", |metric| {
        metric.encode_gauge(&last.loss)
    })
}

fn collection(encoder: &mut DescriptorEncoder, status: &Status) -> fmt::Result {
    let Some(collection) = &status.collection else { return Ok(()) };
    gauge(encoder, "fieldfit_collected_images", "Images of the collection by class and origin", |metric| {
        for (class, origins) in &collection.classes {
            for (origin, images) in origins {
                let labels: Labels = vec![("class", class.clone()), ("origin", (*origin).to_owned())];
                metric.encode_family(&labels)?.encode_gauge(&(*images as f64))?;
            }
        }
        Ok(())
    })
}

/// Encodes a figure that goes up and down.
fn gauge(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    values: impl FnOnce(&mut MetricEncoder) -> fmt::Result,
) -> fmt::Result {
    values(&mut encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}
