"""The routing of parity/python.py with what the 2018 page's Python script does differently restored.

The wording is ours; what it does, and in which order, is the page's, which ran on Python 2. Python 3 runs it, too
(module app_python3). For the published experiment: compare engines with parity/ instead.

Restored:
  - no 100 Trying (the page: native and Lua only);
  - the flag for SIP pings on a contact behind NAT (the page: Lua and Python only);
  - scanners: two names, in this case only, answered 200 Processed;
  - ksr_onreply_manage handles 101 to 298;
  - add_rr_param is never reached: has_totag() is asked as if it were a boolean, and -1 is true;
  - whether the sender is ourselves is asked by its address in a string; bans are looked up as null or not; the method
    is compared as a string where an INVITE is to be accounted;
  - relay asks whether a route is set before it sets it; a location that is neither found nor refused is relayed;
  - natmanage calls rtpproxy; lines at level debug, whose text is put together all the same; lines at start; a route for
    replies, which logs one line;
  - a route has the message as a parameter and returns -255 when the request is done with: its caller then returns.
Added: the header X-Lab-Engine in the keepalive answer. Left out: ksr_failure_manage of the page calls natmanage without
the message, which raises TypeError; here it passes the message on.
"""

import sys

import KSR

ENGINE = "python3" if sys.version_info >= (3,) else "python"

# as in kamailio.cfg
FLT_ACC = 1
FLT_ACCMISSED = 2
FLT_ACCFAILED = 3
FLT_NATS = 5
FLB_NATB = 6
FLB_NATSIPPING = 7


def mod_init():
    """Give Kamailio the object whose methods it calls."""
    KSR.info("the Python script is loaded\n")
    return Routing()


class Routing:
    """Kamailio calls the methods that the page names so, with the message; it ignores their results."""

    def __init__(self):
        """Nothing but a line in the log."""
        KSR.info("the routing object is made\n")

    def child_init(self, rank):
        """Nothing but a line in the log of a worker."""
        KSR.info("process %d is ready\n" % rank)
        return 0

    def ksr_request_route(self, msg):
        """Every request starts here."""
        if self.ksr_route_reqinit(msg) == -255 or self.ksr_route_natdetect(msg) == -255:
            return 1

        if KSR.is_CANCEL():
            if KSR.tm.t_check_trans() > 0:
                self.ksr_route_relay(msg)
            return 1

        if self.ksr_route_withindlg(msg) == -255:
            return 1

        # --- from here on: requests outside of dialogs

        # a retransmission is answered by its transaction
        if KSR.tmx.t_precheck_trans() > 0:
            KSR.tm.t_check_trans()
            return 1
        if KSR.tm.t_check_trans() == 0:
            return 1

        if self.ksr_route_auth(msg) == -255:
            return 1

        # no preloaded routes
        KSR.hdr.remove("Route")
        if KSR.is_method_in("IS"):
            KSR.rr.record_route()
        if KSR.pv.get("$rm") == "INVITE":
            KSR.setflag(FLT_ACC)

        if self.ksr_route_sipout(msg) == -255:
            return 1

        # --- from here on: requests to this domain

        if self.ksr_route_registrar(msg) == -255:
            return 1

        if KSR.corex.has_ruri_user() < 0:
            KSR.sl.sl_send_reply(484, "Address Incomplete")
            return 1
        self.ksr_route_location(msg)
        return 1

    def ksr_route_reqinit(self, _msg):
        """Floods, scanners, loops, keepalives, malformed messages."""
        if not KSR.is_myself(KSR.pv.get("$si")):
            if not KSR.pv.is_null("$sht(ipban=>$si)"):
                KSR.dbg(
                    "banned: "
                    + KSR.pv.get("$rm")
                    + " from "
                    + KSR.pv.get("$fu")
                    + " ("
                    + KSR.pv.get("$si")
                    + ":"
                    + str(KSR.pv.get("$sp"))
                    + ")\n"
                )
                return -255
            if KSR.pike.pike_check_req() < 0:
                KSR.err(
                    "pike bans "
                    + KSR.pv.get("$si")
                    + " for a flood, seen at "
                    + KSR.pv.get("$rm")
                    + " from "
                    + KSR.pv.get("$fu")
                    + ", port "
                    + str(KSR.pv.get("$sp"))
                    + "\n"
                )
                KSR.pv.seti("$sht(ipban=>$si)", 1)
                return -255

        if KSR.corex.has_user_agent() > 0:
            ua = KSR.pv.gete("$ua")
            if ua.find("friendly-scanner") != -1 or ua.find("sipcli") != -1:
                KSR.sl.sl_send_reply(200, "Processed")
                return -255

        if KSR.maxfwd.process_maxfwd(10) < 0:
            KSR.sl.sl_send_reply(483, "Too Many Hops")
            return -255

        if KSR.is_OPTIONS() and KSR.is_myself_ruri() and KSR.corex.has_ruri_user() < 0:
            KSR.hdr.append_to_reply("X-Lab-Engine: %s\r\n" % ENGINE)
            KSR.sl.sl_send_reply(200, "Keepalive")
            return -255

        # it answers by itself
        if KSR.sanity.sanity_check(1511, 7) < 0:
            KSR.err("malformed SIP message from " + KSR.pv.get("$si") + ":" + str(KSR.pv.get("$sp")) + "\n")
            return -255
        return 1

    def ksr_route_natdetect(self, _msg):
        """Find out whether the sender is behind NAT."""
        KSR.force_rport()
        if KSR.nathelper.nat_uac_test(19) > 0:
            if KSR.is_REGISTER():
                KSR.nathelper.fix_nated_register()
            elif KSR.siputils.is_first_hop() > 0:
                KSR.nathelper.set_contact_alias()
            KSR.setflag(FLT_NATS)
        return 1

    def ksr_route_withindlg(self, msg):
        """Requests within a dialog follow the path that record-routing set."""
        if KSR.siputils.has_totag() < 0:
            return 1

        if KSR.rr.loose_route() > 0:
            if self.ksr_route_dlguri(msg) == -255:
                return -255
            if KSR.is_BYE():
                KSR.setflag(FLT_ACC)
                KSR.setflag(FLT_ACCFAILED)
            elif KSR.is_ACK():
                # forwarded without a transaction, so without a branch route
                if self.ksr_route_natmanage(msg) == -255:
                    return -255
            elif KSR.is_NOTIFY():
                # RFC 6665
                KSR.rr.record_route()
            self.ksr_route_relay(msg)
            return -255

        if KSR.is_ACK():
            # of a negative reply; any other is dropped
            if KSR.tm.t_check_trans() > 0:
                self.ksr_route_relay(msg)
            return -255

        KSR.sl.sl_send_reply(404, "Not here")
        return -255

    def ksr_route_auth(self, _msg):
        """Trusted addresses may do anything but register; local users prove who they are; nobody else may relay."""
        if not KSR.is_REGISTER() and KSR.permissions.allow_source_address(1) > 0:
            return 1

        if KSR.is_REGISTER() or KSR.is_myself_furi():
            if KSR.auth_db.auth_check(KSR.pv.get("$fd"), "subscriber", 1) < 0:
                KSR.auth.auth_challenge(KSR.pv.get("$fd"), 0)
                return -255
            if not KSR.is_method_in("RP"):
                KSR.auth.consume_credentials()

        if not KSR.is_myself_furi() and not KSR.is_myself_ruri():
            KSR.sl.sl_send_reply(403, "Not relaying")
            return -255
        return 1

    def ksr_route_sipout(self, msg):
        """Requests to other domains."""
        if KSR.is_myself_ruri():
            return 1

        KSR.hdr.append("P-Hint: outbound\r\n")
        self.ksr_route_relay(msg)
        return -255

    def ksr_route_registrar(self, _msg):
        """Save the binding."""
        if not KSR.is_REGISTER():
            return 1

        if KSR.isflagset(FLT_NATS):
            KSR.setbflag(FLB_NATB)
            KSR.setbflag(FLB_NATSIPPING)
        if KSR.registrar.save("location", 0) < 0:
            KSR.sl.sl_reply_error()
        return -255

    def ksr_route_location(self, msg):
        """Requests to our users."""
        found = KSR.registrar.lookup("location")
        if found < 0:
            # answered within a transaction, which absorbs retransmissions
            KSR.tm.t_newtran()
            if found in (-1, -3):
                KSR.sl.send_reply(404, "Not Found")
                return -255
            if found == -2:
                KSR.sl.send_reply(405, "Method Not Allowed")
                return -255

        if KSR.is_INVITE():
            KSR.setflag(FLT_ACCMISSED)
        self.ksr_route_relay(msg)
        return -255

    def ksr_route_relay(self, _msg):
        """Send the request on its way."""
        if KSR.is_method_in("IBSU") and KSR.tm.t_is_set("branch_route") < 0:
            KSR.tm.t_on_branch("ksr_branch_manage")
        if KSR.is_method_in("ISU") and KSR.tm.t_is_set("onreply_route") < 0:
            KSR.tm.t_on_reply("ksr_onreply_manage")
        if KSR.is_INVITE() and KSR.tm.t_is_set("failure_route") < 0:
            KSR.tm.t_on_failure("ksr_failure_manage")

        if KSR.tm.t_relay() < 0:
            KSR.sl.sl_reply_error()
        return -255

    def ksr_route_dlguri(self, _msg):
        """Take the real target of a request within a dialog from the alias parameter of its URI, if it has one."""
        if not KSR.isdsturiset():
            KSR.nathelper.handle_ruri_alias()
        return 1

    def ksr_route_natmanage(self, _msg):
        """Keep the later messages of a dialog, and its media, on the way through NAT."""
        if KSR.siputils.is_request() > 0 and KSR.siputils.has_totag() > 0 and KSR.rr.check_route_param("nat=yes") > 0:
            KSR.setbflag(FLB_NATB)
        if not (KSR.isflagset(FLT_NATS) or KSR.isbflagset(FLB_NATB)):
            return 1

        KSR.rtpproxy.rtpproxy_manage("co")

        # as on the page: has_totag() is never 0, so this parameter is never added
        if KSR.siputils.is_request() > 0 and not KSR.siputils.has_totag() and KSR.tmx.t_is_branch_route() > 0:
            KSR.rr.add_rr_param(";nat=yes")
        if KSR.siputils.is_reply() > 0 and KSR.isbflagset(FLB_NATB):
            KSR.nathelper.set_contact_alias()
        return 1

    def ksr_branch_manage(self, msg):
        """Each branch of a forwarded request."""
        KSR.dbg("branch [" + str(KSR.pv.get("$T_branch_idx")) + "] goes to " + KSR.pv.get("$ru") + "\n")
        self.ksr_route_natmanage(msg)
        return 1

    def ksr_onreply_manage(self, msg):
        """Each reply to a forwarded request."""
        KSR.dbg("a reply\n")
        code = KSR.pv.get("$rs")
        if code > 100 and code < 299:
            self.ksr_route_natmanage(msg)
        return 1

    def ksr_failure_manage(self, msg):
        """When all branches have failed."""
        if self.ksr_route_natmanage(msg) == -255:
            return 1
        if KSR.tm.t_is_canceled() > 0:
            return 1
        return 1

    def ksr_reply_route(self, _msg):
        """Every reply."""
        KSR.info("a reply has come to the Python script\n")
        return 1
