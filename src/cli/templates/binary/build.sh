#!/bin/sh
# Runs once for each deploy whose source is new, on the machine that runs the function.
set -eu
cc -O2 -Wall -o count count.c
