#!/bin/sh
# examples/kubernetes: the manifests against Kubernetes' own schemas, and their commands run here,
# each container's on a node of an emulated cluster; the packages of the container's image.
. tests/lib/tap.sh
. tests/lib/service.sh
PATH=$PATH:/usr/sbin:/sbin
manifests=$TOP/examples/kubernetes
requires_command python3

# --- packages ---

if [ "$(cut -d . -f 1 /etc/debian_version 2>/dev/null)" = 12 ] && command -v readelf >/dev/null; then
	sed -n '/^FROM debian:12$/,$p' "$manifests/Containerfile" | tr ' \t' '\n\n' | sort -u >"$SCRATCH/listed"
	for lib in $(find "$TOP/${LSC_BIN:-bin}" -name 'lsc*' ! -name '*.so' -exec readelf -d {} + 2>/dev/null |
		sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | sort -u); do
		case $lib in libc.* | libm.* | ld-* | lib[aut]*san.* | libgcc*) continue ;; esac
		file=$(ldconfig -p | sed -n "s|^.*$lib .*=> ||p" | head -n 1)
		package=$(dpkg -S "$(realpath "$file")" 2>/dev/null | sed 's/:.*//')
		[ -n "$package" ] || package=$(dpkg -S "/usr$file" 2>/dev/null | sed 's/:.*//')
		grep -qx "${package:-none}" "$SCRATCH/listed"
		ok $? "the container has $lib (${package:-no package})"
	done
else
	skip 'packages are those of Debian 12'
fi

# --- schemas ---

# A Python that has them: the one that is there, or one of this test's own.
find_python() {
	for python in "${LSC_TEST_PYTHON:-python3}" "$SCRATCH/venv/bin/python"; do
		"$python" -c 'import kubernetes_validate' 2>/dev/null && return
		[ ! -e "$SCRATCH/venv" ] || return
		timeout 60 python3 -m venv "$SCRATCH/venv" >"$SCRATCH/pip.log" 2>&1 &&
			timeout 90 "$SCRATCH/venv/bin/python" -m pip install --quiet \
				--disable-pip-version-check kubernetes-validate >>"$SCRATCH/pip.log" 2>&1
	done
	return 1
}
find_python || skip_all "no Python with kubernetes-validate: $(tail -n 1 "$SCRATCH/pip.log")" \
	kubernetes-validate
expect_status 0 'as the schemas have it' "$python" -m kubernetes_validate --strict "$manifests"/*.yaml
sed 's/containerPort: 7000/containerPort: seven/' "$manifests/nodes.yaml" >"$SCRATCH/wrong.yaml"
expect_status 1 'what is wrong would be found' "$python" -m kubernetes_validate --strict \
	"$SCRATCH/wrong.yaml"

# The script of each container, and its probes, in $SCRATCH/run.
mkdir "$SCRATCH/run"
"$python" - "$SCRATCH/run" "$manifests"/*.yaml <<'END'
import sys, yaml
for path in sys.argv[2:]:
    for thing in yaml.safe_load_all(open(path)):
        pod = thing.get("spec", {}).get("template", {}).get("spec", {})
        mounts = {v["name"] for v in pod.get("volumes", [])}
        for c in pod.get("initContainers", []) + pod.get("containers", []):
            shell, flag, script = c["command"]
            assert (shell, flag) == ("sh", "-c")
            assert {m["name"] for m in c.get("volumeMounts", [])} <= mounts
            name = "wait" if c in pod.get("initContainers", []) else c["name"]
            open(sys.argv[1] + "/" + name, "w").write(script)
            for kind in "readinessProbe", "livenessProbe":
                probe = c.get(kind, {})
                if "exec" in probe:
                    open(sys.argv[1] + "/" + name + "." + kind, "w").write(
                        " ".join(probe["exec"]["command"]) + "\n")
                for where in "httpGet", "tcpSocket":
                    if where in probe:
                        assert probe[where]["port"] in {p["name"] for p in c["ports"]}
END
expect_equal 'a script for each container' "$(ls "$SCRATCH/run" | tr '\n' ' ')" \
	'gate node node.readinessProbe router wait worker '
for script in "$SCRATCH"/run/*; do sh -n "$script"; done
ok $? 'which shells read'

# --- and they run ---

lsc --features >"$SCRATCH/features"
if ! grep -qx 'tls yes' "$SCRATCH/features" || ! grep -qx 'microhttpd yes' "$SCRATCH/features" ||
	! (requires_namespaces) >/dev/null || [ ! -e "$DATA/models/stories260K-fp32" ] ||
	! command -v curl >/dev/null || ! command -v jq >/dev/null; then
	skip 'to run them takes TLS, HTTP, namespaces, test data, curl and jq'
	done_testing
fi
cluster=$SCRATCH/cluster
on() { "$TOP/examples/cluster.sh" "$cluster" exec "$@"; }
end_cluster() { "$TOP/examples/cluster.sh" "$cluster" down; }
"$TOP/examples/cluster.sh" "$cluster" up 4 1gbit
call_at_exit end_cluster
start_model
mkdir "$SCRATCH/keys" "$SCRATCH/models"
cp -r "$image" "$SCRATCH/models/model"
lsc-cast keygen "$SCRATCH/keys/key"
chmod 440 "$SCRATCH/keys/key" # as a volume of a secret has it
echo a-key-of-a-client >"$SCRATCH/keys/api-keys"

run() { # run I NAME: the container's script on a node, with its volumes
	volumes=$SCRATCH/v$1
	mkdir -p "$volumes/run" "$volumes/models"
	models=$volumes/models
	[ "$2" = node ] || models=$SCRATCH/models
	sed -e "s#/models#$models#g" -e "s#/etc/lsc#$SCRATCH/keys#g" -e "s#/run/lsc#$volumes/run#g" \
		-e "s#\$(hostname)\.lsc-node#$(address "$1")#" -e 's#lsc-node-\[0-2\]\.lsc-node#10.77.0.[2-4]#' \
		"$SCRATCH/run/$2" >"$volumes/$2"
	on "$1" env -u LSC_KEY_FILE POD_IP="$(address "$1")" sh "$volumes/$2" 2>"$SCRATCH/log.$2.$1" &
	ended_at_exit $!
}
address() { "$TOP/examples/cluster.sh" "$cluster" address "$1"; }

is_ready() { # is_ready I: as the probe of its manifest says
	on "$1" sh -c "$(sed "s#/run/lsc#$SCRATCH/v$1/run#" "$SCRATCH/run/node.readinessProbe")"
}
for i in 1 2 3; do run $i node; done
for i in 1 2 3; do wait_for "node $i is ready" is_ready $i; done
for name in worker router gate; do run 0 $name; done
healthy() { on 0 curl -sf "http://$(address 0):8080/health"; }
wait_for 'the gate is ready' healthy
for i in 1 2 3; do wait_for "node $i has the model" [ -e "$SCRATCH/v$i/models/model/manifest" ]; done
on 0 curl -s "http://$(address 0):8080/v1/completions" -H 'Content-Type: application/json' \
	-H 'Authorization: Bearer a-key-of-a-client' -d '{"prompt":"Once upon a time","max_tokens":9}' \
	>"$SCRATCH/answer"
expect_equal 'it answers' "$(answer .usage.completion_tokens)" 9
expect_equal 'nobody without a key' "$(on 0 curl -s -o /dev/null -w '%{http_code}' \
	"http://$(address 0):8080/v1/models")" 401
[ "$tap_failed" -eq 0 ] || tail -n 3 "$SCRATCH"/log.*.[0-3] | note
done_testing
