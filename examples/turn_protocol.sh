#!/usr/bin/env bash
# The turn protocol with curl alone, step by step, numbered as docs/flows/turn.md draws it.
#
#   antiphon serve                                       # in another terminal
#   examples/turn_protocol.sh http://127.0.0.1:8000      # or set ANTIPHON_SERVER
#
# Set ANTIPHON_API_KEY if the server requires a key, and ANTIPHON_MODEL for another model than the
# offline demo. JSON is read with python3, to need no other program. turn_protocol.py does the same
# in Python.
set -euo pipefail

server=${1:-${ANTIPHON_SERVER:-http://127.0.0.1:8000}}
model=${ANTIPHON_MODEL:-demo}
headers=(-H 'content-type: application/json')
if [[ -n ${ANTIPHON_API_KEY:-} ]]; then
  headers+=(-H "authorization: Bearer $ANTIPHON_API_KEY")
fi
stream=$(mktemp)
trap 'rm -f "$stream"' EXIT

step() { printf '[%2d] %s\n' "$1" "$2"; }

post() { curl -sS -N --fail-with-body "${headers[@]}" "$server/v1/$1" -d "$2"; }

# Print the data of each event of one type in the saved stream, one line each.
events() { awk -v wanted="event: $1" '$0 == wanted { getline; print substr($0, 7) }' "$stream"; }

# Print the value of a Python expression about `it`, the JSON on stdin.
json() { python3 -c "import json, sys; it = json.load(sys.stdin); print($1)"; }

get_flight_times() { # the tool: it runs here, in this shell
  case "$1-$2" in
    LAX-JFK) echo '{"departure_time": "16:35", "arrival_time": "00:55"}' ;;
    *) echo '{"error": "no such flight"}' ;;
  esac
}

step 1 'POST /process (turn 1)'
post process '{
  "message": {"role": "user", "content": "When does the next flight from LAX to JFK leave?"},
  "model": "'"$model"'",
  "tools": [{
    "name": "get_flight_times",
    "description": "Departure and arrival of the next flight between two airports.",
    "parameters": {
      "type": "object",
      "properties": {
        "departure": {"type": "string", "description": "IATA code"},
        "arrival": {"type": "string", "description": "IATA code"}
      },
      "required": ["departure", "arrival"]
    }
  }]
}' > "$stream"
run=$(events turn.ended | json 'it["run_id"]')
thread=$(events run.status | head -n 1 | json 'it["thread_id"]')
step 2 "inference: the model saw the user's message"

while manifest=$(events action.required) && [[ -n $manifest ]]; do
  step 3 "tool call detected: $(events tool_call.ready | head -n 1 | json 'it["name"] + it["arguments"]')"
  said=$(events message.completed | json 'it["message"]["number"]')
  step 4 "finalize_conversation(): message $said is saved, with the call; the cached context is invalid"
  step 5 "manifest: $(json 'len(it["actions"])' <<< "$manifest") call(s)"
  step 6 "connection closed by the server; the run is $(events turn.ended | json 'it["status"]')"

  count=$(json 'len(it["actions"])' <<< "$manifest")
  for ((at = 0; at < count; at++)); do
    call=$(json "it['actions'][$at]['tool_call_id']" <<< "$manifest")
    departure=$(json "it['actions'][$at]['arguments'].get('departure', '')" <<< "$manifest")
    arrival=$(json "it['actions'][$at]['arguments'].get('arrival', '')" <<< "$manifest")
    output=$(get_flight_times "$departure" "$arrival")
    step 7 "local tool: get_flight_times $departure $arrival = $output"

    step 8 "POST /submit_tool_output for $call"
    body=$(RUN=$run CALL=$call OUTPUT=$output python3 -c 'import json, os
print(json.dumps({"run_id": os.environ["RUN"], "tool_call_id": os.environ["CALL"], "output": os.environ["OUTPUT"]}))')
    saved=$(post submit_tool_output "$body")
    step 9 "tool result saved: the action is $(json 'it["status"]' <<< "$saved")"
    step 10 'HTTP 200 OK'
  done

  step 11 'POST /process (turn 2)'
  post process "{\"run_id\": \"$run\", \"force_refresh\": true}" > "$stream"
  step 12 'set_up_context(force_refresh=True)'
  history=$(curl -sS -f "${headers[@]}" "$server/v1/messages?thread_id=$thread&limit=100")
  # The last message is the answer, which came after the history was read.
  step 13 "the whole history was read: $(json '", ".join(one["role"] for one in it["data"][:-1])' <<< "$history")"
  step 14 "inference: the model saw the tool's output"
done

# If the run did not complete, print the reason on stderr.
run_error='(it.get("error") or {}).get("message") or it.get("reason") or it["status"]'
status=$(events turn.ended | json 'it["status"]')
if [[ $status != completed ]]; then
  echo "The run is $status: $(events run.status | tail -n 1 | json "ascii($run_error)")" >&2
  exit 1
fi

step 15 'final tokens:'
echo
events text.delta | python3 -c 'import json, sys
for line in sys.stdin: print(json.loads(line)["text"], end="")'
printf '\n\n'
step 16 "connection closed by the server; the run is $status"
