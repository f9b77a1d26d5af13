#!/bin/sh
# Attached when it says so.
grep -q watching "$1"
