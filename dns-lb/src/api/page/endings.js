// What the ways that a packet can end mean, in the words of dns-lb-common/src/ending.rs; a test holds
// the two against each other. Those that steer are first.

export const STEERED = ["transmitted", "redirected", "delivered"];

export const MEANINGS = {
  transmitted:
    "Steered, and sent back out of the ingress interface.",
  redirected:
    "Steered, and sent out of another interface.",
  delivered:
    "Steered to the backend on this host: passed to its stack.",
  already_steered:
    "Passed: another balancer has steered it here already.",
  not_ip:
    "Passed: neither IPv4 nor IPv6, or too short to tell for whom.",
  not_service:
    "Passed: no service has this address, port and protocol.",
  icmp:
    "Passed: ICMP to a VIP that is not an error about a packet of a service; the host answers.",
  no_backend_passed:
    "Passed: no usable backend, and the service says `pass`, or `fail-open` with no backend on the link.",
  no_backend_dropped:
    "Dropped: no usable backend, and the service says `drop`.",
  malformed_ip:
    "Dropped: for a VIP, but the IPv4 or IPv6 header contradicts itself or the frame.",
  malformed_udp:
    "Dropped: for a VIP, but the UDP header is cut short or its length is impossible.",
  malformed_tcp:
    "Dropped: for a VIP, but the TCP header is cut short or its length is impossible.",
  malformed_icmp:
    "Dropped: an ICMP error to a VIP, but the packet that it quotes is cut short.",
  bad_source:
    "Dropped: for a service, but from the VIP itself, a multicast or the broadcast address. An answer would go astray.",
  extension_headers:
    "Dropped: for a VIP, with more IPv6 extension headers than are looked at (RFC 8504, 5.3).",
  hop_limit:
    "Dropped: no hops left, on a host that is balancer and backend at once. Balancers that do not know each other pass packets in a circle.",
  not_linear:
    "Passed: the headers lie beyond the frame's first buffer.",
  unknown_backend:
    "Dropped: the steering table names a backend that does not exist, which the agent never writes, or one behind an interface that has just gone. The program logs it.",
};
