#!/bin/sh
# The page of lsc-gate in a browser: nodes that fill, a conversation, and nobody else asked.
#
# LSC_TEST_SCREENSHOTS names a folder for what it looks like.
. tests/lib/tap.sh
. tests/lib/arrivals.sh
. tests/lib/service.sh
requires_feature microhttpd
requires_data models
requires_command jq
requires_command curl
requires_command python3
requires_command chromium

start_model
start_router
start_gate gate
wait_for "the gate is there" curl -sf "http://$gate/v1/models/model"

cat >"$SCRATCH/drive.py" <<'END'
import os, sys
sys.path.insert(0, "tests/lib")
from browser import Browser

base, scratch, pictures = sys.argv[1:]


def ok(good, name):
    print(("ok " if good else "not ok ") + name, flush=True)


def next_step():
    print("next", flush=True)
    sys.stdin.readline()


with Browser(scratch + "/profile") as page:
    def shot(name):
        if pictures:
            page.screenshot(os.path.join(pictures, name + ".png"))

    sys.stdin.readline()
    page.open(base + "/")
    state = "document.getElementById('state').textContent"
    ok(page.wait(f"{state} == 'loading, no route yet'"), "it shows that there is no route yet")
    ok(page.run("getComputedStyle(document.getElementById('keyrow')).display") == "none", "no key is asked for")
    ok("model, " in page.run("document.getElementById('model').textContent"), "and the model")
    next_step()
    ok(page.wait("document.querySelectorAll('.node').length == 2"), "nodes come")
    ok(page.wait("[...document.querySelectorAll('.bar i')].map(b => b.style.width) == '50%,50%'"),
       "and fill")
    ok(page.wait("document.querySelectorAll('#way b').length > 1"), "two of them are a way")
    ok(page.wait(f"{state} == 'ready, still loading'"), "which makes it ready")
    page.run("document.getElementById('limit').value = 40")
    page.run("document.getElementById('text').focus()")
    page.type("Hi there <b>you</b>")
    page.press("Enter")
    ok(page.wait("(document.querySelector('.figures') || {}).textContent?.includes('a second')"),
       "a question is answered")
    ok(page.run("document.querySelector('.user').textContent") == "Hi there <b>you</b>",
       "what is written is text")
    ok(page.run("turns.length == 2 && turns[1].content.length > 5"), "the answer is part of the conversation")
    shot("loading")
    next_step()
    ok(page.wait(f"{state} == 'ready'"), "everything is there")
    ok(page.wait("document.querySelectorAll('.node.complete').length == 1"), "a node is complete")
    page.run("document.getElementById('limit').value = 450; temperature.value = 1")
    page.type("And now?")
    page.press("Enter")
    page.wait("turns.length == 3")
    ok(page.wait("document.querySelectorAll('.assistant').length == 2 && "
                 "document.querySelectorAll('.assistant')[1].firstChild.data.length > 0"), "it goes on")
    ok(page.wait("document.getElementById('send').textContent == 'Send'"), "and ends")
    shot("complete")
    next_step()
    ok(page.wait(f"{state} == 'no router'"), "it shows when the router is gone")
    page.type("Still there?")
    page.press("Enter")
    ok(page.wait("document.querySelector('.note')?.textContent == 'the router is not there'"),
       "and says what fails")
    shot("gone")
    ok(all(url.startswith((base, "data:", "about:")) for url in page.asked), "it asked nobody else")
    page.trouble = [t for t in page.trouble if "503" not in t]
    ok(not page.trouble, "and had no trouble " + "; ".join(page.trouble))
    print("end", flush=True)
END
mkfifo "$SCRATCH/talk"
exec 7<>"$SCRATCH/talk"
timeout 200 python3 "$SCRATCH/drive.py" "http://$gate" "$SCRATCH" "${LSC_TEST_SCREENSHOTS:-}" \
	<&7 >"$SCRATCH/said" 2>"$SCRATCH/err" &
driver=$!
ended_at_exit $driver
step() { [ "$(grep -cx next "$SCRATCH/said")" -ge "$1" ] || ! kill -0 $driver; }
go_on() { # go_on N: after the driver's N-th step
	go_n=0
	while ! step "$1" 2>/dev/null && [ $go_n -lt 600 ]; do
		sleep 0.1
		go_n=$((go_n + 1))
	done
}
echo >&7
go_on 1
start_server exec1 lsc-exec serve --dir "$SCRATCH/zero" --listen 127.0.0.1:0
arrivals "$image" "$exec0 $exec1" 0,1,2 3,4,5 | lsc-msg to-json | grep -v '"type":"end"' |
	lsc-msg from-json >&8
echo >&7
go_on 2
arrivals "$image" "$exec0 $exec1" all 3,4,5 | lsc-msg to-json |
	grep -e '"type":"complete"' -e '"type":"end"' |
	lsc-msg from-json >&8
echo >&7
go_on 3
kill "$router_pid"
echo >&7
wait $driver
expect_equal "the browser ends well" $? 0
note <"$SCRATCH/err"
while read -r line; do
	case $line in
	ok*) ok 0 "${line#ok }" ;;
	'not ok'*) ok 1 "${line#not ok }" ;;
	esac
done <"$SCRATCH/said"
done_testing
