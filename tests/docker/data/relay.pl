# The far end of a test's SIP: passes datagrams between its standard input and output and UDP sockets of the network
# namespace that it runs in. Arguments are <name>=<address>:<port>; lines are "<name> <datagram in hex>", both ways.
# The last socket is looked at last, so that an answer there says that all before it has been passed on.
use strict;
use warnings;
use IO::Socket::INET;
use Socket qw(MSG_DONTWAIT);

$| = 1;
my @names;
my %sockets;
for (@ARGV) {
    my ($name, $address, $port) = /^(\w+)=([\d.]+):(\d+)$/ or die "$_: not name=address:port\n";
    push @names, $name;
    $sockets{$name} = IO::Socket::INET->new(Proto => "udp", LocalAddr => $address, LocalPort => $port)
        or die "$_: $!\n";
}
my $kamailio = sockaddr_in(5060, inet_aton("127.0.0.1"));
my $asked = "";
print "ready\n";

while (1) {
    my $wanted = "";
    vec($wanted, fileno($_), 1) = 1 for *STDIN, values %sockets;
    select(my $ready = $wanted, undef, undef, undef);
    for my $name (@names) {
        next unless vec($ready, fileno($sockets{$name}), 1);
        while (defined $sockets{$name}->recv(my $datagram, 65535, MSG_DONTWAIT)) {
            print "$name ", unpack("H*", $datagram), "\n";
        }
    }
    next unless vec($ready, fileno(STDIN), 1);
    sysread(STDIN, $asked, 65536, length $asked) or exit 0;
    while ($asked =~ s/^(\w+) ([0-9a-f]*)\n//) {
        $sockets{$1}->send(pack("H*", $2), 0, $kamailio);
    }
}
