#!/bin/sh
# How the one-CPU machine of `cargo xtask bench vm` starts the agent: all spans by OTLP to the harness's sink.
exec "$AGENT_DIR/peer" run --collector none --otlp "$OTLP_HTTP"
