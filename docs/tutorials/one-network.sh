#!/bin/sh
# A client, a director and a realserver on one network, with NAT: the tutorial nat-on-one-network.md.
# Run it in the lab, where nothing of it stays:  lvsha lab exec --bare -- sh docs/tutorials/one-network.sh broken|fixed DIR
set -e
how=${1:?broken or fixed} out=${2:?a folder for the captures}
lvsha=${LVSHA:-.venv/bin/lvsha}

# Three machines on one switch.
ip link add switch type bridge
ip link set switch up
for machine in client:100 director:1 realserver:11; do
    name=${machine%:*} host=${machine#*:}
    ip netns add "$name"
    ip link add "to-$name" type veth peer name eth0 netns "$name"
    ip link set "to-$name" master switch up
    ip -n "$name" link set lo up
    ip -n "$name" address add "10.0.0.$host/24" dev eth0
    ip -n "$name" link set eth0 up
done

# The director: the virtual address, forwarding, one service with NAT.
ip -n director address add 10.0.0.10/32 dev eth0
ip netns exec director sysctl -q -w net.ipv4.ip_forward=1
ip netns exec director ipvsadm -A -t 10.0.0.10:80 -s rr
ip netns exec director ipvsadm -a -t 10.0.0.10:80 -r 10.0.0.11:80 -m

# The realserver: the director is its default gateway, as every how-to says.
ip -n realserver route add default via 10.0.0.1
if [ "$how" = fixed ]; then
    # Its neighbours too are reached through the director, which must not tell it a shorter way.
    ip netns exec director sysctl -q -w net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.eth0.send_redirects=0
    ip -n realserver route add 10.0.0.1/32 dev eth0
    ip -n realserver route delete 10.0.0.0/24 dev eth0
fi
ip netns exec realserver python3 -m http.server 80 --bind 10.0.0.11 --directory /etc/ssl >/dev/null 2>&1 &
server=$!

# A capture on each machine, and one request.
for name in client director realserver; do
    ip netns exec "$name" tcpdump -q -U -ni eth0 -w "$out/$how.$name.pcap" 2>/dev/null &
    captures="$captures $!"
done
sleep 3
ip netns exec client python3 -c "
from urllib.request import urlopen
try:
    print('answered with', urlopen('http://10.0.0.10/', timeout=4).status)
except OSError as error:
    print('no answer:', error)"
sleep 1
# shellcheck disable=SC2086
kill $captures $server
wait

"$lvsha" trace "$out/$how.client.pcap" "$out/$how.director.pcap" "$out/$how.realserver.pcap" || true
