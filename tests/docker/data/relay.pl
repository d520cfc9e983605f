# The far end of a test's SIP: passes datagrams between its standard input and output and UDP sockets of the network
# namespace that it runs in. Arguments are <name>=<address>:<port>; lines are "<name> <datagram in hex>", both ways.
# The last socket is the fence: what comes there is passed on after all that had come anywhere before it. For that it is
# taken first and held back until the others are empty, whatever select() has seen of them.
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

# Lines of what a socket has now.
sub taken {
    my ($name) = @_;
    my @lines;
    while (defined $sockets{$name}->recv(my $datagram, 65535, MSG_DONTWAIT)) {
        push @lines, "$name " . unpack("H*", $datagram) . "\n";
    }
    return @lines;
}

while (1) {
    my $wanted = "";
    vec($wanted, fileno($_), 1) = 1 for *STDIN, values %sockets;
    select(my $ready = $wanted, undef, undef, undef);
    my @held = taken($names[-1]);
    print for (map { taken($_) } @names[0 .. $#names - 1]), @held;
    next unless vec($ready, fileno(STDIN), 1);
    sysread(STDIN, $asked, 65536, length $asked) or exit 0;
    while ($asked =~ s/^(\w+) ([0-9a-f]*)\n//) {
        $sockets{$1}->send(pack("H*", $2), 0, $kamailio);
    }
}
