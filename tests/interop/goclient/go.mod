// The version of Boskos that everything in tests/interop/ is tried with: upstream.py reads it here.
module boskosd/tests/interop/goclient

go 1.23.0

require sigs.k8s.io/boskos v0.0.0-20250908171729-5e4ab7284e90
