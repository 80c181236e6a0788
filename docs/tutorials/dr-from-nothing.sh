#!/bin/sh
# A client, a pair of directors and two realservers: the tutorial dr-from-nothing.md.
# Run it in the lab, where nothing of it stays:  lvsha lab exec --bare -- sh docs/tutorials/dr-from-nothing.sh DIR
set -e
out=${1:?a folder for the captures}
lvsha=${LVSHA:-.venv/bin/lvsha} file=docs/tutorials/dr-from-nothing.toml
say() { printf '\n== %s\n' "$*"; }

say "five machines on one switch"
ip link add switch type bridge mcast_snooping 0
ip link set switch up
for machine in client:100 lb1:1 lb2:2 rs1:11 rs2:12; do
    name=${machine%:*} host=${machine#*:}
    ip netns add "$name"
    ip link add "to-$name" type veth peer name eth0 netns "$name"
    ip link set "to-$name" master switch up
    ip -n "$name" link set lo up
    ip -n "$name" address add "10.0.0.$host/24" dev eth0
    ip -n "$name" link set eth0 up
done

for name in rs1 rs2; do
    say "$name: prepared, and a web server"
    ip netns exec "$name" "$lvsha" realserver apply --yes --state "/tmp/$name.json" "$file"
    ip netns exec "$name" python3 -m http.server 80 --directory /etc/ssl >/dev/null 2>&1 &
    started="$started $!"
done

say "both directors"
for name in lb1 lb2; do
    ip netns exec "$name" "$lvsha" agent -f "$file" --node "$name" --run-dir "/run/$name" 2>"/tmp/$name.log" &
    started="$started $!"
done
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    ip netns exec lb1 "$lvsha" status --run-dir /run/lb1 >/dev/null 2>&1 && break
    sleep 1
done
ip netns exec lb1 "$lvsha" status --run-dir /run/lb1 || cat /tmp/lb1.log

say "one request, with a capture on client, director and one realserver"
for name in client lb1 rs1 rs2; do
    ip netns exec "$name" tcpdump -q -U -ni eth0 -w "$out/$name.pcap" 2>/dev/null &
    captures="$captures $!"
done
sleep 3
ip netns exec client python3 -c "
from urllib.request import urlopen
print('answered with', urlopen('http://10.0.0.10/', timeout=4).status)"
sleep 1
# shellcheck disable=SC2086
kill $captures
"$lvsha" trace --follow 10.0.0.100 "$out/client.pcap" "$out/lb1.pcap" "$out/rs1.pcap" "$out/rs2.pcap" || true

say "lb1 dies"
ip link set to-lb1 down
sleep 5
ip netns exec client python3 -c "
from urllib.request import urlopen
print('answered with', urlopen('http://10.0.0.10/', timeout=4).status)"
ip netns exec lb2 "$lvsha" status --run-dir /run/lb2 || true
# shellcheck disable=SC2086
kill $started
wait
