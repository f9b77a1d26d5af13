#!/bin/sh
# How the one-CPU machine of `cargo xtask bench vm` starts the agent: the watched service only, and all its spans by OTLP to the
# harness's sink.
cat > /tmp/agent.toml <<CONFIG
[collector]
url = ""
[otlp]
url = "$OTLP_HTTP"
[[select.include]]
executable = "$VICTIM_EXE"
CONFIG
exec "$AGENT_DIR/peer" run --config /tmp/agent.toml
