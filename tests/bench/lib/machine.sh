# shellcheck shell=sh
# What machine this is, as a line of JSON among a benchmark's results: results without it say little.

machine() {
	cpu=$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -n 1)
	memory=$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)
	printf '{"name":"machine","cpu":"%s","cores":%d,"memory_bytes":%d,"kernel":"%s","date":"%s"}\n' \
		"$(echo "${cpu:-$(uname -m)}" | tr -d '"\\')" "$(nproc)" "$((memory * 1024))" \
		"$(uname -sr)" "$(date -u +%Y-%m-%dT%H:%MZ)"
}
