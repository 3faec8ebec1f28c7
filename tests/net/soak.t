#!/bin/sh
# `make soak` in 12 seconds: that all works which it does, not whether anything grows.
LSC_SOAK_SECONDS=12 exec tests/soak/soak.t
