#!/bin/bash
# Plays on one real cluster, with real containers and unmodified kubectl, what workloads do and what `plan` and `why`
# say: broken rollouts healed, drains under budgets, retention of volumes, rollouts, plans and what became of them.
# Every command is printed as `$ command`, then what it printed (the middle left out where long), then its exit code if
# it is not 0; of `plan` and `why` always. Lines with # are this script's own words; !! says that something was not as
# it must be. The programs run in a network namespace of their own; `roadstead` gets `--data DIR` at its end, kubectl
# its KUBECONFIG.
#
#   crates/conformance/shows/workloads.sh     (root; two minutes; needs what `cargo xtask ci` leaves in target)
#
# Environment: MAIN (checkout), ROADSTEAD (program; target/release's, or target/debug's if there is none), SECTIONS
# (for example "1 3"; all by default). Exit code: 0 if every command ended as foretold here and every byte is where it
# must be; 1 otherwise.
set -u
MAIN=${MAIN:-$(cd "$(dirname "$0")/../../.." && pwd)}
[ -e "$MAIN/target/release/roadstead" ] && built=release || built=debug
ROADSTEAD=${ROADSTEAD:-$MAIN/target/$built/roadstead}
KUBECTL=${KUBECTL:-$MAIN/target/tools/kubectl-new/bin/kubectl}
IMAGE=${IMAGE:-$MAIN/target/images/busybox.tar}
SECTIONS=${SECTIONS:-1 2 3 4 5}
NETNS=rs-real-$$
W=$(mktemp -d /tmp/rs-real.XXXXXX)
BEGUN=$SECONDS
COMMANDS=0
WRONG=0
BACKGROUND=

for needed in "$ROADSTEAD" "$KUBECTL" "$IMAGE"; do
  [ -e "$needed" ] || { echo "$needed is missing"; rm -rf "$W"; exit 1; }
done

# --- the cluster's frame -------------------------------------------------------------------------------------------
mkdir -p "$W/bin" "$W/home" "$W/program"
# A copy, because a build may replace the program meanwhile.
cp "$ROADSTEAD" "$W/program/roadstead" || exit 1
printf '#!/bin/sh\n[ "$1" = --version ] || set -- "$@" --data %s\nexec nsenter --net=/run/netns/%s -- %s "$@"\n' "$W/data" "$NETNS" "$W/program/roadstead" >"$W/bin/roadstead"
printf '#!/bin/sh\nHOME=%s exec nsenter --net=/run/netns/%s -- %s "$@"\n' "$W/home" "$NETNS" "$KUBECTL" >"$W/bin/kubectl"
chmod +x "$W/bin/"*
export PATH="$W/bin:$PATH" KUBECONFIG="$W/data/kubeconfig"
cd "$W" || exit 1

cleanup() {
  trap - EXIT INT TERM
  for pid in $BACKGROUND; do kill "$pid" 2>/dev/null; done
  if [ -e "$W/data" ]; then roadstead down --delete-data --yes >"$W/down.log" 2>&1 || cat "$W/down.log"; fi
  ip netns del "$NETNS" 2>/dev/null
  cd / && rm -rf "$W"
}
trap cleanup EXIT
trap 'exit 130' INT TERM
ip netns add "$NETNS" && ip -n "$NETNS" link set lo up || exit 1

# --- saying and doing ----------------------------------------------------------------------------------------------
wants() { case " $SECTIONS " in *" $1 "*) return 0 ;; *) return 1 ;; esac; }
title() { printf '\n\n==================== %s\n' "$*"; }
say() { printf '\n# %s\n' "$*"; }
wrong() { WRONG=$((WRONG + 1)); printf '!! %s\n' "$*"; }

# Prints a text, at most $LINES_MAX lines of it.
abridged() {
  local max=${LINES_MAX:-40} all
  all=$(wc -l <"$1")
  if [ "$all" -le "$max" ]; then cat "$1"; else
    head -n $((max / 2)) "$1"; echo "  … ($((all - max + max % 2)) lines left out)"; tail -n $((max / 2)) "$1"
  fi
}

# Runs a command line that must end with the exit code, and shows it.
try() {
  local expected=$1 code; shift
  COMMANDS=$((COMMANDS + 1))
  printf '$ %s\n' "$*"
  eval "$*" >"$W/out" 2>&1 </dev/null
  code=$?
  abridged "$W/out"
  case "$code $*" in
    "0 roadstead plan "* | "0 roadstead why "* | [1-9]*) echo "(exit code $code)" ;;
  esac
  [ "$code" = "$expected" ] || wrong "exit code $code, expected $expected"
}
ok() { try 0 "$@"; }
# Waits silently, at most two minutes, until a command line succeeds.
until_() {
  local end=$((SECONDS + 120))
  until eval "$*" >/dev/null 2>&1 </dev/null; do
    [ $SECONDS -lt $end ] || { wrong "waited two minutes in vain for: $*"; return 1; }
    sleep 0.1
  done
}
says() { [ "$(kubectl get "$1" -o "jsonpath=$2" 2>/dev/null)" = "$3" ]; }
gone() { [ -z "$(kubectl get "$@" --ignore-not-found -o name 2>/dev/null)" ]; }
clear_all() { kubectl delete sts,deploy,pdb,pvc,cm --all >/dev/null 2>&1; until_ 'gone pods && gone pvc'; }
rolled() { kubectl rollout status "$1" --timeout=120s >/dev/null 2>&1 || wrong "$1 is not rolled out"; }
PODS="kubectl get pods -o custom-columns=POD:.metadata.name,UID:.metadata.uid,IMAGE:.spec.containers[0].image,READY:.status.containerStatuses[0].ready,WAITS:.status.containerStatuses[0].state.waiting.reason"
events() { echo "kubectl get events --field-selector=involvedObject.name=$1,reason=$2 -o custom-columns=REASON:.reason,MESSAGE:.message"; }

workload() { # kind, name, replicas, annotations
  cat <<YAML
apiVersion: apps/v1
kind: $1
metadata: {name: $2, annotations: {${4:-}}}
spec:
  replicas: $3
  selector: {matchLabels: {app: $2}}
  template:
    metadata: {labels: {app: $2}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: c, image: "busybox:1.35", command: [sleep, "3600"]}
YAML
}

title "A cluster: one node with real containers, two virtual ones"
echo "# $(date -u +%FT%TZ), $(uname -sr), $(nproc) CPUs; the program: $ROADSTEAD, sha256 $(sha256sum "$W/program/roadstead" | cut -c1-16)"
ok roadstead --version
ok kubectl version --client
ok "roadstead image import $IMAGE"
ok roadstead up --listen 127.0.0.1:0 --node-name real --virtual-nodes 2
say "The virtual nodes take nothing until the drain: every pod below has real containers."
ok kubectl cordon virtual-0 virtual-1
ok kubectl get nodes

# --- 1 -------------------------------------------------------------------------------------------------------------
pulling() { kubectl get pod "$1" -o 'jsonpath={.status.containerStatuses[0].state}' | grep -q ImagePullBackOff; }

if wants 1; then
  title "1. A broken image, then a corrected template"
  workload StatefulSet db 2 >db.yaml
  ok cat db.yaml
  ok kubectl apply -f db.yaml
  ok kubectl rollout status sts/db --timeout=120s
  zero=$(kubectl get pod db-0 -o 'jsonpath={.metadata.uid}')
  say "An image that nobody has: the update stops at db-1, and why says so."
  ok kubectl set image sts/db c=127.0.0.1:1/nothing:1
  until_ pulling db-1
  try 3 roadstead why sts/db
  broken=$(kubectl get pod db-1 -o 'jsonpath={.metadata.uid}')
  say "The template is corrected. Without the annotation nothing happens, as upstream: stuck, and explained."
  ok kubectl set image sts/db c=busybox:1.35-debian
  try 1 kubectl rollout status sts/db --timeout=10s
  ok "$PODS"
  says pod/db-1 '{.metadata.uid}' "$broken" && says pod/db-0 '{.metadata.uid}' "$zero" || wrong "a pod was touched"
  until_ "roadstead why sts/db | grep -q 'annotate statefulset db'"
  try 3 roadstead why sts/db
  say "What why proposed:"
  ok kubectl annotate statefulset db roadstead.dev/heal-rollout=never-ready
  ok kubectl rollout status sts/db --timeout=120s
  ok "$PODS"
  says pod/db-1 '{.spec.containers[0].image}' busybox:1.35-debian || wrong "db-1 has another image"
  until_ "$(events db RolloutHealed) | grep -q db-1"
  ok "$(events db RolloutHealed)"
  ok roadstead why sts/db

  say "A set that has the annotation from the start needs nobody."
  workload StatefulSet healed 2 "roadstead.dev/heal-rollout: never-ready" >healed.yaml
  ok kubectl apply -f healed.yaml
  rolled sts/healed
  ok kubectl set image sts/healed c=127.0.0.1:1/nothing:1
  until_ pulling healed-1
  try 3 roadstead why sts/healed
  ok kubectl set image sts/healed c=busybox:1.35-debian
  ok kubectl rollout status sts/healed --timeout=120s
  until_ "$(events healed RolloutHealed) | grep -q healed-1"
  ok "$(events healed RolloutHealed)"

  say "roadstead.dev/rollback-after: 5s - nobody corrects anything, and the set returns to its last good template."
  workload StatefulSet back 2 "roadstead.dev/rollback-after: 5s" >back.yaml
  ok kubectl apply -f back.yaml
  rolled sts/back
  ok "kubectl get sts back -o jsonpath='{.status.updateRevision} {.spec.template.spec.containers[0].image}{\"\\n\"}'"
  cp out before
  zero=$(kubectl get pod back-0 -o 'jsonpath={.metadata.uid}')
  ok kubectl set image sts/back c=127.0.0.1:1/nothing:1
  at=$SECONDS
  until_ "$(events back RolledBack) | grep -q back-1"
  rolled sts/back
  echo "# rolled back and ready again $((SECONDS - at)) s later"
  ok "$(events back RolledBack)"
  ok "kubectl get sts back -o jsonpath='{.status.updateRevision} {.spec.template.spec.containers[0].image}{\"\\n\"}'"
  cmp -s out before || wrong "another revision than before"
  ok "kubectl get pods -l app=back -o custom-columns=POD:.metadata.name,UID:.metadata.uid,IMAGE:.spec.containers[0].image"
  says pod/back-0 '{.metadata.uid}' "$zero" || wrong "back-0 was touched"
  ok kubectl rollout history sts/back
  clear_all
fi

# --- 2 -------------------------------------------------------------------------------------------------------------
if wants 2; then
  title "2. kubectl drain against a PodDisruptionBudget"
  cat >web.yaml <<'YAML'
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: web}
spec:
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - {name: c, image: 'busybox:1.35', command: [sleep, '3600']}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
YAML
  ok cat web.yaml
  ok kubectl apply -f web.yaml
  rolled sts/web
  until_ says pdb/web '{.status.disruptionsAllowed}' 1
  ok kubectl get pods -o wide
  ok kubectl get pdb web
  ok roadstead why pdb/web
  say "No other node takes pods: the drain may have one of the two, and then waits."
  echo '$ kubectl drain real --timeout=120s &'
  kubectl drain real --timeout=120s >drain.log 2>&1 &
  drain=$!
  BACKGROUND=$drain
  until_ "grep -q 'violate the pod' drain.log"
  until_ says pdb/web '{.status.currentHealthy}' 1
  until_ '[ -n "$(kubectl get pods --field-selector=status.phase=Pending -o name)" ]'
  ok kubectl get pods -o wide
  ok kubectl get pdb web
  try 3 roadstead why pdb/web
  until_ "roadstead why sts/web | grep -q cordon"
  try 3 roadstead why sts/web
  say "Room is made, and the drain goes on by itself."
  ok kubectl uncordon virtual-0
  wait $drain
  code=$?
  BACKGROUND=
  echo '$ wait %1; cat drain.log'
  abridged drain.log
  echo "(exit code of the drain: $code)"
  [ $code = 0 ] || wrong "the drain failed"
  rolled sts/web
  until_ says pdb/web '{.status.disruptionsAllowed}' 1
  ok kubectl get pods -o wide
  ok kubectl get pdb web
  ok kubectl uncordon real
  ok kubectl cordon virtual-0
  clear_all
fi

# --- 3 -------------------------------------------------------------------------------------------------------------
combination() { # whenDeleted, whenScaled
  local name; name=$(echo "$1-$2" | tr A-Z a-z)
  cat <<YAML
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: $name}
spec:
  replicas: 2
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: $name}}
  persistentVolumeClaimRetentionPolicy: {whenDeleted: $1, whenScaled: $2}
  template:
    metadata: {labels: {app: $name}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: c, image: "busybox:1.35", command: [sleep, "3600"], volumeMounts: [{name: data, mountPath: /data}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 16Mi}}}
---
YAML
}
# The sha256 of the bytes in each pod's volume, one line each; a folder without them is "empty".
sums() {
  local set pod sum
  for set in $SETS; do for pod in $set-0 $set-1; do
    sum=$(kubectl exec "$pod" -- sh -c 'test -e /data/bytes && busybox sha256sum /data/bytes || ls /data' | cut -c1-16)
    echo "$pod ${sum:-empty}"
  done; done
}
fill() { # writes a megabyte that nobody can guess, where there is none
  local set pod
  for set in $SETS; do for pod in $set-0 $set-1; do
    kubectl exec "$pod" -- sh -c 'test -e /data/bytes || head -c 1048576 /dev/urandom >/data/bytes'
  done; done
}
# Prints before and after side by side and judges: which pods must have lost their bytes, by name.
compare() {
  printf '%-18s %-18s %-18s %s\n' POD BEFORE AFTER
  paste -d' ' "$1" "$2" | while read -r pod before _ after; do
    if [ "$before" = "$after" ]; then is=same; elif [ "$after" = empty ]; then is=new; else is="OTHER BYTES"; fi
    printf '%-18s %-18s %-18s %s\n' "$pod" "$before" "$after" "$is"
  done | tee compared
  [ "$(awk '$NF == "new" {print $1}' compared | xargs)" = "$3" ] || wrong "new volumes expected: $3"
  ! grep -q OTHER compared || wrong "other bytes"
}

if wants 3; then
  title "3. persistentVolumeClaimRetentionPolicy in its four combinations, bytes compared"
  SETS="retain-retain retain-delete delete-retain delete-delete"
  for deleted in Retain Delete; do for scaled in Retain Delete; do combination $deleted $scaled; done; done >four.yaml
  say "Four sets named whenDeleted-whenScaled, two pods each; the first of them:"
  ok "sed '/^---/,\$d' four.yaml"
  ok kubectl apply -f four.yaml
  for set in $SETS; do rolled sts/$set; done
  say "A megabyte of /dev/urandom into each pod's volume (kubectl exec); its sha256, first 16 digits:"
  fill; sums >one; cat one
  say "2 → 1"
  ok kubectl scale sts $SETS --replicas=1
  until_ '[ "$(kubectl get pods -o name | wc -l)" = 4 ]'
  until_ gone pvc/data-retain-delete-1 pvc/data-delete-delete-1
  sleep 2 # time for what must not happen
  ok kubectl get pvc -o custom-columns=CLAIM:.metadata.name,PHASE:.status.phase,OWNER:.metadata.ownerReferences[0].kind
  [ "$(wc -l <out)" = 7 ] || wrong "six claims expected"
  say "1 → 2: the sha256 again"
  ok kubectl scale sts $SETS --replicas=2
  for set in $SETS; do rolled sts/$set; done
  sums >two
  compare one two "retain-delete-1 delete-delete-1"
  say "The two new volumes get bytes, and all four sets are deleted."
  fill; sums >three
  ok kubectl delete sts $SETS
  until_ gone pods
  until_ gone pvc/data-delete-retain-0 pvc/data-delete-retain-1 pvc/data-delete-delete-0 pvc/data-delete-delete-1
  sleep 2 # time for what must not happen
  ok kubectl get pvc -o custom-columns=CLAIM:.metadata.name,PHASE:.status.phase,OWNER:.metadata.ownerReferences[0].kind
  [ "$(wc -l <out)" = 5 ] || wrong "four claims expected"
  say "The sets are made again."
  ok kubectl apply -f four.yaml
  for set in $SETS; do rolled sts/$set; done
  sums >four
  compare three four "delete-retain-0 delete-retain-1 delete-delete-0 delete-delete-1"
  clear_all
fi

# --- 4 -------------------------------------------------------------------------------------------------------------
colours() { echo "kubectl get pods -l app=$1 -o custom-columns=POD:.metadata.name,COLOR:.spec.containers[0].env[0].value"; }

if wants 4; then
  title "4a. kubectl rollout on a Deployment"
  LINES_MAX=12
  workload Deployment web 3 >deployment.yaml
  ok kubectl apply -f deployment.yaml
  ok kubectl rollout status deploy/web --timeout=120s
  ok kubectl annotate deploy/web kubernetes.io/change-cause=first
  for colour in blue green; do
    ok kubectl set env deploy/web COLOR=$colour
    ok kubectl annotate --overwrite deploy/web kubernetes.io/change-cause=$colour
    ok kubectl rollout status deploy/web --timeout=120s
  done
  ok kubectl rollout history deploy/web
  LINES_MAX=20 ok kubectl rollout history deploy/web --revision=2
  say "undo"
  ok kubectl rollout undo deploy/web
  ok kubectl rollout status deploy/web --timeout=120s
  ok kubectl rollout history deploy/web
  until_ '[ "$(kubectl get pods -l app=web -o name | wc -l)" = 3 ]'
  ok "$(colours web)"
  [ "$(grep -c blue out)" = 3 ] || wrong "three blue pods expected"
  ok kubectl rollout undo deploy/web --to-revision=4
  say "pause: a change waits; resume: it goes on"
  ok kubectl rollout pause deploy/web
  try 1 kubectl rollout pause deploy/web
  ok kubectl set env deploy/web COLOR=red
  try 1 kubectl rollout status deploy/web --timeout=3s
  try 1 kubectl rollout undo deploy/web
  until_ "roadstead why deploy/web | grep -q resume"
  try 3 roadstead why deploy/web
  ok "$(colours web)"
  [ "$(grep -c blue out)" = 3 ] || wrong "three blue pods expected"
  ok kubectl rollout resume deploy/web
  ok kubectl rollout status deploy/web --timeout=120s
  until_ '[ "$(kubectl get pods -l app=web -o name | wc -l)" = 3 ]'
  ok "$(colours web)"
  [ "$(grep -c red out)" = 3 ] || wrong "three red pods expected"
  say "restart"
  ok kubectl rollout restart deploy/web
  ok kubectl rollout status deploy/web --timeout=120s
  ok kubectl get rs -l app=web

  title "4b. kubectl rollout on a StatefulSet"
  workload StatefulSet db 3 >sts.yaml
  ok kubectl apply -f sts.yaml
  ok kubectl rollout status sts/db --timeout=120s
  for colour in blue green; do
    ok kubectl annotate --overwrite sts/db kubernetes.io/change-cause=$colour
    ok kubectl set env sts/db COLOR=$colour
    ok kubectl rollout status sts/db --timeout=120s
  done
  ok kubectl rollout history sts/db
  LINES_MAX=20 ok kubectl rollout history sts/db --revision=2
  say "undo: revision 2 is used again, under a new number and with its cause"
  ok kubectl rollout undo sts/db --to-revision=2
  ok kubectl rollout status sts/db --timeout=120s
  ok kubectl rollout history sts/db
  ok "$(colours db)"
  [ "$(grep -c blue out)" = 3 ] || wrong "three blue pods expected"
  ok kubectl rollout undo sts/db --to-revision=4
  say "pause and resume: kubectl itself refuses them for sets, here as upstream"
  try 1 kubectl rollout pause sts/db
  try 1 kubectl rollout resume sts/db
  say "restart"
  uid=$(kubectl get pod db-0 -o 'jsonpath={.metadata.uid}')
  ok kubectl rollout restart sts/db
  ok kubectl rollout status sts/db --timeout=120s
  says pod/db-0 '{.metadata.uid}' "$uid" && wrong "db-0 was not restarted"
  ok kubectl rollout history sts/db
  unset LINES_MAX
  clear_all
fi

# --- 5 -------------------------------------------------------------------------------------------------------------
shop() { # image, whenScaled, replicas, annotations of the set
  cat <<YAML
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: shop, annotations: {${4:-}}}
spec:
  replicas: ${3:-3}
  persistentVolumeClaimRetentionPolicy: {whenScaled: ${2:-Retain}, whenDeleted: Retain}
  serviceName: shop
  selector: {matchLabels: {app: shop}}
  template:
    metadata: {labels: {app: shop}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: c
        image: '$1'
        command: [sh, -c, sleep 1; touch /tmp/well; sleep 3600]
        readinessProbe: {exec: {command: [test, -f, /tmp/well]}, periodSeconds: 1}
        volumeMounts: [{name: data, mountPath: /data}]
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], storageClassName: growing, resources: {requests: {storage: 16Mi}}}
YAML
}
revision() { kubectl get --raw /api/v1/namespaces/default/pods | python3 -c 'import json, sys; print(json.load(sys.stdin)["metadata"]["resourceVersion"])'; }
# What happened to the pods since a revision, in the words of a plan.
happened() {
  kubectl get --raw "/api/v1/namespaces/default/pods?watch=1&resourceVersion=$1&timeoutSeconds=1" | python3 -c '
import json, sys
left = set()
for line in sys.stdin:
    event = json.loads(line)
    meta = event["object"]["metadata"]
    if event["type"] == "ADDED":
        print("create", meta["name"])
    if (event["type"] == "DELETED" or meta.get("deletionTimestamp")) and meta["uid"] not in left:
        left.add(meta["uid"])
        print("delete", meta["name"])'
}
# The same from the last plan that was printed.
foretold() { sed -nE 's/^ +[0-9]+\. after .* (create|delete) (shop-[0-9]+) .*/\1 \2/p' "$1"; }
# Compares what happened since a revision with the file "planned".
as_planned() {
  happened "$1" >steps
  paste -sd, steps
  cmp -s planned steps && echo "# as planned" || wrong "planned: $(paste -sd, planned)"
}

if wants 5; then
  title "5a. roadstead plan"
  cat >growing.yaml <<'YAML'
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: growing}
provisioner: roadstead.dev/local
volumeBindingMode: WaitForFirstConsumer
allowVolumeExpansion: true
YAML
  kubectl apply -f growing.yaml >/dev/null
  GOOD=busybox:1.35
  NEW=busybox:1.35-debian
  shop $GOOD >shop.yaml
  say "(1) a set that is not there"
  ok cat shop.yaml
  try 2 roadstead plan -f shop.yaml
  ok kubectl get sts,pods
  ok kubectl apply -f shop.yaml
  rolled sts/shop
  say "(2) nothing to do"
  ok roadstead plan -f shop.yaml
  say "(3) another image; then what really happened, from a watch of the pods"
  shop $NEW >new.yaml
  try 2 roadstead plan -f new.yaml
  foretold out >planned
  rv=$(revision)
  at=$(date +%s.%N)
  ok kubectl apply -f new.yaml
  rolled sts/shop
  echo "# took $(date +%s.%N | awk -v at="$at" '{printf "%.1f", $1 - at}') s"
  as_planned "$rv"
  say "(4) fewer pods, and claims of such pods go: the plan names the data that would be lost"
  shop $NEW Delete 2 >fewer.yaml
  try 2 roadstead plan -f fewer.yaml
  ok kubectl get pvc -o custom-columns=CLAIM:.metadata.name,PHASE:.status.phase
  ok kubectl apply -f fewer.yaml
  until_ gone pvc/data-shop-2
  ok kubectl get pvc -o custom-columns=CLAIM:.metadata.name,PHASE:.status.phase
  try 2 roadstead plan -f new.yaml
  ok kubectl apply -f new.yaml
  rolled sts/shop
  say "(5) several manifests: a ConfigMap, a claim that grows, a set whose labels alone change"
  printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {mode: slow}\n' >slow.yaml
  kubectl apply -f slow.yaml >/dev/null
  uids=$(kubectl get pods -o 'jsonpath={.items[*].metadata.uid}')
  {
    printf 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {mode: fast}\n---\n'
    printf 'apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data-shop-0}\nspec: {accessModes: [ReadWriteOnce], storageClassName: growing, resources: {requests: {storage: 32Mi}}}\n---\n'
    sed 's/metadata: {name: shop, /metadata: {name: shop, labels: {team: sales}, /' new.yaml
  } >many.yaml
  try 2 roadstead plan -f many.yaml
  try 1 "kubectl diff -f many.yaml | grep '^[+-] '; (exit \${PIPESTATUS[0]})"
  ok kubectl apply -f many.yaml
  until_ says pvc/data-shop-0 '{.status.capacity.storage}' 32Mi
  ok kubectl get pvc -o custom-columns=CLAIM:.metadata.name,ASKED:.spec.resources.requests.storage,CAPACITY:.status.capacity.storage
  ok roadstead why pvc/data-shop-0
  [ "$(kubectl get pods -o 'jsonpath={.items[*].metadata.uid}')" = "$uids" ] && echo "# the same pods as before" || wrong "other pods"
  sed -i 's/metadata: {name: shop, /&labels: {team: sales}, /' new.yaml
  say "(6) refused, in the words of the API; nothing is changed, kubectl is told the same"
  sed 's/serviceName: shop/serviceName: other/' new.yaml >refused.yaml
  try 1 roadstead plan -f refused.yaml
  try 1 kubectl apply -f refused.yaml
  say "(7) a correction behind a broken template, without the annotation and with it"
  ok kubectl set image sts/shop c=127.0.0.1:1/nothing:1
  until_ pulling shop-2
  try 2 roadstead plan -f new.yaml
  shop $NEW Retain 3 "roadstead.dev/heal-rollout: never-ready" | sed 's/{name: shop, /&labels: {team: sales}, /' >heal.yaml
  try 2 roadstead plan -f heal.yaml
  foretold out >planned
  rv=$(revision)
  ok kubectl apply -f heal.yaml
  rolled sts/shop
  as_planned "$rv"
  clear_all

  title "5b. roadstead why (exit code 0: nothing blocks it, 2: it waits, 3: it is stuck)"
  single() { # name, command, rest of the container, rest of the pod, further lines of the spec
    cat <<YAML
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: $1}
spec:
  replicas: 2
  selector: {matchLabels: {app: $1}}
  template:
    metadata: {labels: {app: $1}}
    spec:
      terminationGracePeriodSeconds: 0
      ${4:-}
      containers:
      - {name: c, image: "busybox:1.35", command: $2${3:-}}
  ${5:-}
---
YAML
  }
  SLEEP='[sleep, "3600"]'
  LONG=a-name-that-is-much-too-long-for-a-set-as-somebody-found
  {
    single fine "$SLEEP"
    single slow "$SLEEP" ', readinessProbe: {exec: {command: ["true"]}, initialDelaySeconds: 1200}'
    single crash '[sh, -c, "echo no license; exit 7"]'
    single sick "$SLEEP" ', readinessProbe: {exec: {command: [sh, -c, echo not the leader; exit 1]}, periodSeconds: 1}'
    single huge "$SLEEP" ', resources: {requests: {cpu: "1000"}}'
    single conf "$SLEEP" ', volumeMounts: [{name: conf, mountPath: /conf}]' 'volumes: [{name: conf, configMap: {name: shop-conf}}]'
    single disk "$SLEEP" ', volumeMounts: [{name: data, mountPath: /data}]' '' 'volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], storageClassName: fast, resources: {requests: {storage: 1Gi}}}}]'
    single $LONG "$SLEEP"
    single held "$SLEEP"
  } >why.yaml
  ok kubectl apply -f why.yaml
  ok kubectl create namespace small
  ok kubectl -n small create quota few --hard=pods=1
  single tenant "$SLEEP" >tenant.yaml
  ok kubectl -n small apply -f tenant.yaml
  rolled sts/held
  ok "kubectl patch pod held-1 -p '{\"metadata\":{\"finalizers\":[\"example.com/backup\"]}}'"
  ok kubectl delete pod held-1 --wait=false
  rolled sts/fine

  say "(1) all is well"
  until_ "roadstead why sts/fine"
  ok roadstead why fine
  say "(2) waits by itself"
  until_ "roadstead why sts/slow | grep -q 'readiness probe'"
  try 2 roadstead why sts/slow
  say "(3) the program ends at once"
  until_ "roadstead why sts/crash | grep -q 'right after its start'"
  try 3 roadstead why sts/crash
  ok kubectl logs crash-0 -c c --previous
  say "(4) the probe fails, so the next pod is not made"
  until_ "roadstead why sts/sick | grep -q 'what to do'" # the probe's own patience is over
  try 3 roadstead why sts/sick
  try 3 roadstead why pod/sick-1
  say "(5) fits on no node"
  until_ "roadstead why sts/huge | grep -qi cpu"
  try 3 roadstead why sts/huge
  say "(6) a ConfigMap is missing; then it is there"
  until_ "roadstead why sts/conf | grep -q shop-conf"
  try 3 roadstead why sts/conf
  ok kubectl create configmap shop-conf --from-literal=a=b
  rolled sts/conf
  ok roadstead why sts/conf
  say "(7) a storage class that is not there, asked from both ends"
  until_ "roadstead why sts/disk | grep -q '\"fast\"'"
  try 3 roadstead why sts/disk
  try 3 roadstead why pvc/data-disk-0
  say "(8) a quota is used up"
  until_ "roadstead why sts/tenant -n small | grep -q quota"
  try 3 roadstead why sts/tenant -n small
  try 3 roadstead why quota/few -n small
  say "(9) a finalizer holds a pod"
  until_ "roadstead why sts/held | grep -q example.com/backup"
  try 3 roadstead why sts/held
  ok "kubectl patch pod held-1 --type=json -p '[{\"op\":\"remove\",\"path\":\"/metadata/finalizers/0\"}]'"
  rolled sts/held
  until_ "roadstead why sts/held"
  ok roadstead why sts/held
  say "(10) a name that is too long"
  until_ "roadstead why sts/$LONG | grep -q shorter"
  try 3 roadstead why sts/$LONG
  say "(11) asked wrongly"
  try 3 roadstead why pod/nobody
  try 1 roadstead why widget/db
  say "(12) for programs"
  LINES_MAX=30 try 3 roadstead why sts/crash -o json
  kubectl delete namespace small >/dev/null
  clear_all
fi

# --- the end -------------------------------------------------------------------------------------------------------
title "The end"
ok roadstead status
ok roadstead down --delete-data --yes
try 3 roadstead status
printf '\n# %s commands in %s s; %s not as foretold\n' "$COMMANDS" "$((SECONDS - BEGUN))" "$WRONG"
[ "$WRONG" = 0 ]
