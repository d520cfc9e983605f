"""Routing in Python 2.

Same order, names and behaviour as native.cfg and python3.py: read them side by side; native.cfg says what differs from
the 2018 page.

As in Python 3, a route returns True when the request is done with: its caller then returns, as "exit" does in
native.cfg. sys.exit() would end the script, too, by the dearer way of an exception. Functions of modules return a
number, of which only a positive one means yes (-1 is true to Python, 0 is not); those of the core (KSR.is_...) return a
boolean. A native script ends by itself when a function returns 0; here that takes a line of its own. What is null comes
from KSR.pv.get() as None, from KSR.pv.gete() as "".

What is special in Python 2: a string is a row of bytes, so that no header can fail to decode; there are no f-strings.
What Kamailio calls must return a number: None would leave an exception behind, which the next call trips over.
"""

import KSR

# as in kamailio.cfg
FLT_ACC = 1
FLT_ACCMISSED = 2
FLT_ACCFAILED = 3
FLT_NATS = 5
FLB_NATB = 6
FLB_NATSIPPING = 7


def mod_init():
    """Give Kamailio the object whose methods it calls."""
    return Routing()


class Routing(object):
    """The methods without `route` in their name are called by Kamailio, with the message; it ignores their results."""

    def child_init(self, _rank):
        """Nothing to prepare in a worker."""
        return 0

    def ksr_request_route(self, _msg):
        """Every request starts here."""
        if self.ksr_route_reqinit():
            return 1
        self.ksr_route_natdetect()

        if KSR.is_CANCEL():
            if KSR.tm.t_check_trans() > 0:
                self.ksr_route_relay()
            return 1

        if self.ksr_route_withindlg():
            return 1

        # --- from here on: requests outside of dialogs

        # a retransmission is answered by its transaction
        if KSR.tmx.t_precheck_trans() > 0:
            KSR.tm.t_check_trans()
            return 1
        if KSR.tm.t_check_trans() == 0:
            return 1

        if self.ksr_route_auth():
            return 1

        # no preloaded routes
        KSR.hdr.remove("Route")
        if KSR.is_method_in("IS"):
            KSR.rr.record_route()
        if KSR.is_INVITE():
            KSR.setflag(FLT_ACC)

        if self.ksr_route_sipout():
            return 1

        # --- from here on: requests to this domain

        if self.ksr_route_registrar():
            return 1

        if KSR.corex.has_ruri_user() < 0:
            KSR.sl.sl_send_reply(484, "Address Incomplete")
            return 1
        self.ksr_route_location()
        return 1

    def ksr_route_reqinit(self):
        """Floods, scanners, loops, keepalives, malformed messages."""
        if not KSR.is_myself_srcip() and self.ksr_route_flood():
            return True

        if KSR.corex.has_user_agent() > 0:
            ua = KSR.pv.gete("$ua").lower()
            if "friendly-scanner" in ua or "sipcli" in ua:
                KSR.sl.sl_send_reply(200, "OK")
                return True

        if KSR.maxfwd.process_maxfwd(10) < 0:
            KSR.sl.sl_send_reply(483, "Too Many Hops")
            return True

        if KSR.is_OPTIONS() and KSR.is_myself_ruri() and KSR.corex.has_ruri_user() < 0:
            KSR.hdr.append_to_reply("X-Lab-Engine: python\r\n")
            KSR.sl.sl_send_reply(200, "Keepalive")
            return True

        # it answers by itself
        if KSR.sanity.sanity_check(1511, 7) < 0:
            KSR.err("malformed SIP message from %s:%s\n" % (KSR.pv.get("$si"), KSR.pv.get("$sp")))
            return True

        return False

    def ksr_route_flood(self):
        """Ban a sender that is not ourselves, and sends too much: no answer until the ban has run out."""
        if KSR.pv.get("$sht(ipban=>$si)") == 1:
            return True
        if KSR.pike.pike_check_req() > 0:
            return False

        KSR.pv.seti("$sht(ipban=>$si)", 1)
        source, method, port = (KSR.pv.get(name) for name in ("$si", "$rm", "$sp"))
        KSR.err("pike bans %s for a flood, seen at %s from %s, port %s\n" % (source, method, KSR.pv.gete("$fu"), port))
        return True

    def ksr_route_natdetect(self):
        """Find out whether the sender is behind NAT."""
        KSR.force_rport()
        if KSR.nathelper.nat_uac_test(19) > 0:
            if KSR.is_REGISTER():
                KSR.nathelper.fix_nated_register()
            elif KSR.siputils.is_first_hop() > 0:
                KSR.nathelper.set_contact_alias()
            KSR.setflag(FLT_NATS)

    def ksr_route_withindlg(self):
        """Requests within a dialog follow the path that record-routing set."""
        if KSR.siputils.has_totag() < 0:
            return False

        if KSR.rr.loose_route() > 0:
            self.ksr_route_dlguri()
            if KSR.is_BYE():
                KSR.setflag(FLT_ACC)
                KSR.setflag(FLT_ACCFAILED)
            elif KSR.is_ACK():
                # forwarded without a transaction, so without a branch route
                self.ksr_route_natmanage()
            elif KSR.is_NOTIFY():
                # RFC 6665
                KSR.rr.record_route()
            return self.ksr_route_relay()

        if KSR.is_ACK():
            # of a negative reply; any other is dropped
            if KSR.tm.t_check_trans() > 0:
                self.ksr_route_relay()
            return True

        KSR.sl.sl_send_reply(404, "Not here")
        return True

    def ksr_route_auth(self):
        """Trusted addresses may do anything but register; local users prove who they are; nobody else may relay."""
        if not KSR.is_REGISTER() and KSR.permissions.allow_source_address(1) > 0:
            return False

        if KSR.is_REGISTER() or KSR.is_myself_furi():
            realm = KSR.pv.gete("$fd")
            if KSR.auth_db.auth_check(realm, "subscriber", 1) < 0:
                KSR.auth.auth_challenge(realm, 0)
                return True
            if not KSR.is_method_in("RP"):
                KSR.auth.consume_credentials()

        if not KSR.is_myself_furi() and not KSR.is_myself_ruri():
            KSR.sl.sl_send_reply(403, "Not relaying")
            return True

        return False

    def ksr_route_sipout(self):
        """Requests to other domains."""
        if KSR.is_myself_ruri():
            return False

        KSR.hdr.append("P-Hint: outbound\r\n")
        return self.ksr_route_relay()

    def ksr_route_registrar(self):
        """Save the binding."""
        if not KSR.is_REGISTER():
            return False

        if KSR.isflagset(FLT_NATS):
            KSR.setbflag(FLB_NATB)
            KSR.setbflag(FLB_NATSIPPING)
        if KSR.registrar.save("location", 0) < 0:
            KSR.sl.sl_reply_error()
        return True

    def ksr_route_location(self):
        """Requests to our users."""
        found = KSR.registrar.lookup("location")
        if found > 0:
            if KSR.is_INVITE():
                KSR.setflag(FLT_ACCMISSED)
            return self.ksr_route_relay()

        # answered within a transaction, which absorbs retransmissions
        if found == 0 or KSR.tm.t_newtran() == 0:
            return True
        if found == -2:
            KSR.sl.send_reply(405, "Method Not Allowed")
        else:
            KSR.sl.send_reply(404, "Not Found")
        return True

    def ksr_route_relay(self):
        """Send the request on its way. A request comes here once, so nothing is set yet."""
        if KSR.is_INVITE():
            KSR.tm.t_on_failure("ksr_manage_failure")
        if KSR.is_method_in("ISU"):
            KSR.tm.t_on_reply("ksr_manage_reply")
        if KSR.is_method_in("ISUB"):
            KSR.tm.t_on_branch("ksr_manage_branch")

        if KSR.tm.t_relay() < 0:
            KSR.sl.sl_reply_error()
        return True

    def ksr_route_dlguri(self):
        """Take the real target of a request within a dialog from the alias parameter of its URI, if it has one."""
        if not KSR.isdsturiset():
            KSR.nathelper.handle_ruri_alias()

    def ksr_route_natmanage(self):
        """Keep the later messages of a dialog on the way through NAT."""
        if KSR.siputils.is_request() > 0 and KSR.siputils.has_totag() > 0 and KSR.rr.check_route_param("nat=yes") > 0:
            KSR.setbflag(FLB_NATB)
        if not KSR.isflagset(FLT_NATS) and not KSR.isbflagset(FLB_NATB):
            return

        if KSR.siputils.is_request() > 0:
            if KSR.siputils.has_totag() < 0 and KSR.tmx.t_is_branch_route() > 0:
                KSR.rr.add_rr_param(";nat=yes")
        elif KSR.isbflagset(FLB_NATB):
            KSR.nathelper.set_contact_alias()

    def ksr_manage_branch(self, _msg):
        """Each branch of a forwarded request."""
        self.ksr_route_natmanage()
        return 1

    def ksr_manage_reply(self, _msg):
        """Each reply to a forwarded request."""
        if 100 < KSR.pv.get("$rs") < 300:
            self.ksr_route_natmanage()
        return 1

    def ksr_manage_failure(self, _msg):
        """When all branches have failed."""
        self.ksr_route_natmanage()
        if KSR.tm.t_is_canceled() > 0:
            return 1
        # here a call could be tried elsewhere
        return 1
