// Routing in JavaScript (Duktape, ES5). Same order, names and behaviour as native.cfg and lua.lua: read them side by
// side; native.cfg says what differs from the 2018 page.
//
// A route returns true when the request is done with: its caller then returns, as "exit" does in native.cfg.
// KSR.x.exit() would end the script, too, but compiles and throws a piece of JavaScript each time. Functions of modules
// return a number, of which only a positive one means yes (-1 is true to JavaScript, 0 is not, and neither is "");
// those of the core (KSR.is_...) return a boolean. A native script ends by itself when a function returns 0; here that
// takes a line of its own. What is null comes from KSR.pv.get() as null, from KSR.pv.gete() as "".

// as in kamailio.cfg
var FLT_ACC = 1;
var FLT_ACCMISSED = 2;
var FLT_ACCFAILED = 3;
var FLT_NATS = 5;
var FLB_NATB = 6;
var FLB_NATSIPPING = 7;

function ksr_request_route() {
    if (ksr_route_reqinit()) return;
    ksr_route_natdetect();

    if (KSR.is_CANCEL()) {
        if (KSR.tm.t_check_trans() > 0) ksr_route_relay();
        return;
    }

    if (ksr_route_withindlg()) return;

    // --- from here on: requests outside of dialogs

    // a retransmission is answered by its transaction
    if (KSR.tmx.t_precheck_trans() > 0) {
        KSR.tm.t_check_trans();
        return;
    }
    if (KSR.tm.t_check_trans() === 0) return;

    if (ksr_route_auth()) return;

    // no preloaded routes
    KSR.hdr.remove("Route");
    if (KSR.is_method_in("IS")) KSR.rr.record_route();
    if (KSR.is_INVITE()) KSR.setflag(FLT_ACC);

    if (ksr_route_sipout()) return;

    // --- from here on: requests to this domain

    if (ksr_route_registrar()) return;

    if (KSR.corex.has_ruri_user() < 0) {
        KSR.sl.sl_send_reply(484, "Address Incomplete");
        return;
    }
    ksr_route_location();
}

// Floods, scanners, loops, keepalives, malformed messages.
function ksr_route_reqinit() {
    if (!KSR.is_myself_srcip() && ksr_route_flood()) return true;

    if (KSR.corex.has_user_agent() > 0) {
        var ua = KSR.pv.gete("$ua").toLowerCase();
        // not found is -1
        if (ua.indexOf("friendly-scanner") >= 0 || ua.indexOf("sipcli") >= 0) {
            KSR.sl.sl_send_reply(200, "OK");
            return true;
        }
    }

    if (KSR.maxfwd.process_maxfwd(10) < 0) {
        KSR.sl.sl_send_reply(483, "Too Many Hops");
        return true;
    }

    if (KSR.is_OPTIONS() && KSR.is_myself_ruri() && KSR.corex.has_ruri_user() < 0) {
        KSR.hdr.append_to_reply("X-Lab-Engine: jsdt\r\n");
        KSR.sl.sl_send_reply(200, "Keepalive");
        return true;
    }

    // it answers by itself
    if (KSR.sanity.sanity_check(1511, 7) < 0) {
        KSR.err("malformed SIP message from " + KSR.pv.get("$si") + ":" + KSR.pv.get("$sp") + "\n");
        return true;
    }

    return false;
}

// A sender that is not ourselves, and sends too much, is not answered until its ban has run out.
function ksr_route_flood() {
    if (KSR.pv.get("$sht(ipban=>$si)") === 1) return true;
    if (KSR.pike.pike_check_req() > 0) return false;

    KSR.pv.seti("$sht(ipban=>$si)", 1);
    KSR.err("pike bans " + KSR.pv.get("$si") + " for a flood, seen at " + KSR.pv.get("$rm") + " from "
        + KSR.pv.gete("$fu") + ", port " + KSR.pv.get("$sp") + "\n");
    return true;
}

// Is the sender behind NAT?
function ksr_route_natdetect() {
    KSR.force_rport();
    if (KSR.nathelper.nat_uac_test(19) > 0) {
        if (KSR.is_REGISTER()) {
            KSR.nathelper.fix_nated_register();
        } else if (KSR.siputils.is_first_hop() > 0) {
            KSR.nathelper.set_contact_alias();
        }
        KSR.setflag(FLT_NATS);
    }
}

// Requests within a dialog follow the path that record-routing set.
function ksr_route_withindlg() {
    if (KSR.siputils.has_totag() < 0) return false;

    if (KSR.rr.loose_route() > 0) {
        ksr_route_dlguri();
        if (KSR.is_BYE()) {
            KSR.setflag(FLT_ACC);
            KSR.setflag(FLT_ACCFAILED);
        } else if (KSR.is_ACK()) {
            // forwarded without a transaction, so without a branch route
            ksr_route_natmanage();
        } else if (KSR.is_NOTIFY()) {
            // RFC 6665
            KSR.rr.record_route();
        }
        return ksr_route_relay();
    }

    if (KSR.is_ACK()) {
        // of a negative reply; any other is dropped
        if (KSR.tm.t_check_trans() > 0) ksr_route_relay();
        return true;
    }

    KSR.sl.sl_send_reply(404, "Not here");
    return true;
}

// Trusted addresses may do anything but register; local users prove who they are; nobody else may use us as a relay.
function ksr_route_auth() {
    if (!KSR.is_REGISTER() && KSR.permissions.allow_source_address(1) > 0) return false;

    if (KSR.is_REGISTER() || KSR.is_myself_furi()) {
        var realm = KSR.pv.gete("$fd");
        if (KSR.auth_db.auth_check(realm, "subscriber", 1) < 0) {
            KSR.auth.auth_challenge(realm, 0);
            return true;
        }
        if (!KSR.is_method_in("RP")) KSR.auth.consume_credentials();
    }

    if (!KSR.is_myself_furi() && !KSR.is_myself_ruri()) {
        KSR.sl.sl_send_reply(403, "Not relaying");
        return true;
    }

    return false;
}

// Requests to other domains.
function ksr_route_sipout() {
    if (KSR.is_myself_ruri()) return false;

    KSR.hdr.append("P-Hint: outbound\r\n");
    return ksr_route_relay();
}

function ksr_route_registrar() {
    if (!KSR.is_REGISTER()) return false;

    if (KSR.isflagset(FLT_NATS)) {
        KSR.setbflag(FLB_NATB);
        KSR.setbflag(FLB_NATSIPPING);
    }
    if (KSR.registrar.save("location", 0) < 0) KSR.sl.sl_reply_error();
    return true;
}

// Requests to our users.
function ksr_route_location() {
    var found = KSR.registrar.lookup("location");
    if (found > 0) {
        if (KSR.is_INVITE()) KSR.setflag(FLT_ACCMISSED);
        return ksr_route_relay();
    }

    // answered within a transaction, which absorbs retransmissions
    if (found === 0 || KSR.tm.t_newtran() === 0) return true;
    if (found === -2) {
        KSR.sl.send_reply(405, "Method Not Allowed");
    } else {
        KSR.sl.send_reply(404, "Not Found");
    }
    return true;
}

// Sends the request on its way. A request comes here once, so nothing is set yet.
function ksr_route_relay() {
    if (KSR.is_INVITE()) KSR.tm.t_on_failure("ksr_manage_failure");
    if (KSR.is_method_in("ISU")) KSR.tm.t_on_reply("ksr_manage_reply");
    if (KSR.is_method_in("ISUB")) KSR.tm.t_on_branch("ksr_manage_branch");

    if (KSR.tm.t_relay() < 0) KSR.sl.sl_reply_error();
    return true;
}

// The real target of a request within a dialog may be in the alias parameter of its URI.
function ksr_route_dlguri() {
    if (!KSR.isdsturiset()) KSR.nathelper.handle_ruri_alias();
}

// Keeps the later messages of a dialog on the way through NAT.
function ksr_route_natmanage() {
    if (KSR.siputils.is_request() > 0 && KSR.siputils.has_totag() > 0 && KSR.rr.check_route_param("nat=yes") > 0) {
        KSR.setbflag(FLB_NATB);
    }
    if (!KSR.isflagset(FLT_NATS) && !KSR.isbflagset(FLB_NATB)) return;

    if (KSR.siputils.is_request() > 0) {
        if (KSR.siputils.has_totag() < 0 && KSR.tmx.t_is_branch_route() > 0) KSR.rr.add_rr_param(";nat=yes");
    } else if (KSR.isbflagset(FLB_NATB)) {
        KSR.nathelper.set_contact_alias();
    }
}

function ksr_manage_branch() {
    ksr_route_natmanage();
}

function ksr_manage_reply() {
    var code = KSR.pv.get("$rs");
    if (code > 100 && code < 300) ksr_route_natmanage();
}

function ksr_manage_failure() {
    ksr_route_natmanage();
    if (KSR.tm.t_is_canceled() > 0) return;
    // here a call could be tried elsewhere
}
