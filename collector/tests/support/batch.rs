//! Builds wire batches as an agent does: strings and instances once.

use spanhound_proto::v1;
use std::collections::HashMap;

/// A batch under construction.
#[derive(Default)]
pub(crate) struct Builder {
    pub(crate) batch: v1::Batch,
    strings: HashMap<String, u32>,
}

impl Builder {
    pub(crate) fn new(agent_run_id: u64, sequence: u64) -> Self {
        let mut builder = Self::default();
        builder.batch.agent_run_id = agent_run_id;
        builder.batch.sequence = sequence;
        builder.text("");
        builder
    }

    pub(crate) fn text(&mut self, text: &str) -> u32 {
        if let Some(index) = self.strings.get(text) {
            return *index;
        }
        let index = self.batch.strings.len() as u32;
        self.batch.strings.push(text.to_owned());
        self.strings.insert(text.to_owned(), index);
        index
    }

    pub(crate) fn instance(&mut self, host: &str, service: &str, runtime: &str, pid: u32) -> u32 {
        let instance = v1::Instance {
            id: u64::from(pid) << 8 | 1,
            service: self.text(service),
            executable: self.text(&format!("/usr/bin/{runtime}")),
            runtime: self.text(runtime),
            instance_name: self.text(&format!("{host}:{pid}")),
            host_name: self.text(host),
            pid,
            ..v1::Instance::default()
        };
        match self.batch.instances.iter().position(|known| *known == instance) {
            Some(index) => index as u32,
            None => {
                self.batch.instances.push(instance);
                self.batch.instances.len() as u32 - 1
            }
        }
    }

    pub(crate) fn attribute(&mut self, key: &str, value: &str) -> v1::Attribute {
        let value = v1::attribute::Value::Text(self.text(value));
        v1::Attribute {
            key: self.text(key),
            value: Some(value),
        }
    }
}
