-- The routing of parity/lua.lua with what the 2018 page's Lua script does differently restored. The wording is ours; what
-- it does, and in which order, is the page's. For the published experiment: compare engines with parity/ instead.
--
-- Restored:
--   - six variables read at the start of every request, into globals, as are the flags;
--   - 100 Trying to every request that passes the first checks (the page: native and Lua only), by the function that
--     looks for a transaction first, with a string for a code;
--   - the flag for SIP pings on a contact behind NAT (the page: Lua and Python only);
--   - scanners: two names, in this case only, as patterns (in which "-" is a repetition: "friendly-scanner" never matches
--     itself), answered 200 OK;
--   - ksr_onreply_manage handles 101 to 298;
--   - bans through the functions of htable; relay asks whether a route is set before it sets it;
--   - a location that is neither found nor refused is relayed; natmanage calls rtpproxy; lines at level debug, whose text
--     is put together all the same; a route for replies, which logs one line.
-- Added: the header X-Lab-Engine in the keepalive answer. The published configuration reloads the script on demand.

-- as in kamailio.cfg
FLT_ACC = 1
FLT_ACCMISSED = 2
FLT_ACCFAILED = 3
FLT_NATS = 5
FLB_NATB = 6
FLB_NATSIPPING = 7

-- of the request that is being handled
SOURCE_IP = ""
SOURCE_URI = ""
FROM_URI = ""
FROM_DOMAIN = ""
METHOD = ""
USER_AGENT = ""

-- both interpreters run this script; only LuaJIT has this table
ENGINE = jit and "luajit" or "lua"

function ksr_request_route()
    ksr_read_variables()
    ksr_route_reqinit()

    KSR.sl.send_reply("100", "Trying")

    ksr_route_natdetect()

    if KSR.is_CANCEL() then
        if KSR.tm.t_check_trans() > 0 then ksr_route_relay() end
        return 1
    end

    ksr_route_withindlg()

    -- --- from here on: requests outside of dialogs

    -- a retransmission is answered by its transaction
    if KSR.tmx.t_precheck_trans() > 0 then
        KSR.tm.t_check_trans()
        return 1
    end
    if KSR.tm.t_check_trans() == 0 then return 1 end

    ksr_route_auth()

    -- no preloaded routes
    KSR.hdr.remove("Route")
    if KSR.is_method_in("IS") then KSR.rr.record_route() end
    if KSR.is_INVITE() then KSR.setflag(FLT_ACC) end

    ksr_route_sipout()

    -- --- from here on: requests to this domain

    ksr_route_registrar()

    if KSR.corex.has_ruri_user() < 0 then
        KSR.sl.sl_send_reply(484, "Address Incomplete")
        return 1
    end
    ksr_route_location()
    return 1
end

function ksr_read_variables()
    SOURCE_IP = KSR.pv.gete("$si")
    SOURCE_URI = KSR.pv.gete("$su")
    FROM_URI = KSR.pv.gete("$fu")
    FROM_DOMAIN = KSR.pv.gete("$fd")
    METHOD = KSR.pv.gete("$rm")
    USER_AGENT = KSR.pv.gete("$ua")
end

-- Floods, scanners, loops, keepalives, malformed messages.
function ksr_route_reqinit()
    if not KSR.is_myself_srcip() then
        if KSR.htable.sht_has_name("ipban", "eq", SOURCE_IP) > 0 then
            KSR.dbg("banned: " .. METHOD .. " from " .. FROM_URI .. " (" .. SOURCE_URI .. ")\n")
            KSR.x.exit()
        end
        if KSR.pike.pike_check_req() < 0 then
            KSR.err("pike bans " .. SOURCE_URI .. " for a flood, seen at " .. METHOD .. " from " .. FROM_URI .. "\n")
            KSR.htable.sht_seti("ipban", SOURCE_IP, 1)
            KSR.x.exit()
        end
    end

    if KSR.corex.has_user_agent() > 0 then
        if string.find(USER_AGENT, "friendly-scanner") or string.find(USER_AGENT, "sipcli") then
            KSR.sl.sl_send_reply(200, "OK")
            KSR.x.exit()
        end
    end

    if KSR.maxfwd.process_maxfwd(10) < 0 then
        KSR.sl.sl_send_reply(483, "Too Many Hops")
        KSR.x.exit()
    end

    if KSR.is_OPTIONS() and KSR.is_myself_ruri() and KSR.corex.has_ruri_user() < 0 then
        KSR.hdr.append_to_reply("X-Lab-Engine: " .. ENGINE .. "\r\n")
        KSR.sl.sl_send_reply(200, "Keepalive")
        KSR.x.exit()
    end

    -- it answers by itself
    if KSR.sanity.sanity_check(1511, 7) < 0 then
        KSR.err("malformed SIP message from " .. SOURCE_URI .. "\n")
        KSR.x.exit()
    end
end

-- Is the sender behind NAT?
function ksr_route_natdetect()
    KSR.force_rport()
    if KSR.nathelper.nat_uac_test(19) > 0 then
        if KSR.is_REGISTER() then
            KSR.nathelper.fix_nated_register()
        elseif KSR.siputils.is_first_hop() > 0 then
            KSR.nathelper.set_contact_alias()
        end
        KSR.setflag(FLT_NATS)
    end
    return 1
end

-- Requests within a dialog follow the path that record-routing set.
function ksr_route_withindlg()
    if KSR.siputils.has_totag() < 0 then return 1 end

    if KSR.rr.loose_route() > 0 then
        ksr_route_dlguri()
        if KSR.is_BYE() then
            KSR.setflag(FLT_ACC)
            KSR.setflag(FLT_ACCFAILED)
        elseif KSR.is_ACK() then
            -- forwarded without a transaction, so without a branch route
            ksr_route_natmanage()
        elseif KSR.is_NOTIFY() then
            -- RFC 6665
            KSR.rr.record_route()
        end
        ksr_route_relay()
        KSR.x.exit()
    end

    if KSR.is_ACK() then
        -- of a negative reply; any other is dropped
        if KSR.tm.t_check_trans() > 0 then ksr_route_relay() end
        KSR.x.exit()
    end

    KSR.sl.sl_send_reply(404, "Not here")
    KSR.x.exit()
end

-- Trusted addresses may do anything but register; local users prove who they are; nobody else may use us as a relay.
function ksr_route_auth()
    if not KSR.is_REGISTER() then
        if KSR.permissions.allow_source_address(1) > 0 then return 1 end
    end

    if KSR.is_REGISTER() or KSR.is_myself_furi() then
        if KSR.auth_db.auth_check(FROM_DOMAIN, "subscriber", 1) < 0 then
            KSR.auth.auth_challenge(FROM_DOMAIN, 0)
            KSR.x.exit()
        end
        if not KSR.is_method_in("RP") then KSR.auth.consume_credentials() end
    end

    if not KSR.is_myself_furi() and not KSR.is_myself_ruri() then
        KSR.sl.sl_send_reply(403, "Not relaying")
        KSR.x.exit()
    end
    return 1
end

-- Requests to other domains.
function ksr_route_sipout()
    if KSR.is_myself_ruri() then return 1 end

    KSR.hdr.append("P-Hint: outbound\r\n")
    ksr_route_relay()
    KSR.x.exit()
end

function ksr_route_registrar()
    if not KSR.is_REGISTER() then return 1 end

    if KSR.isflagset(FLT_NATS) then
        KSR.setbflag(FLB_NATB)
        KSR.setbflag(FLB_NATSIPPING)
    end
    if KSR.registrar.save("location", 0) < 0 then KSR.sl.sl_reply_error() end
    KSR.x.exit()
end

-- Requests to our users.
function ksr_route_location()
    local found = KSR.registrar.lookup("location")
    if found < 0 then
        -- answered within a transaction, which absorbs retransmissions
        KSR.tm.t_newtran()
        if found == -1 or found == -3 then
            KSR.sl.send_reply("404", "Not Found")
            KSR.x.exit()
        elseif found == -2 then
            KSR.sl.send_reply("405", "Method Not Allowed")
            KSR.x.exit()
        end
    end

    if KSR.is_INVITE() then KSR.setflag(FLT_ACCMISSED) end
    ksr_route_relay()
    KSR.x.exit()
end

-- Sends the request on its way; never returns.
function ksr_route_relay()
    if KSR.is_method_in("IBSU") then
        if KSR.tm.t_is_set("branch_route") < 0 then KSR.tm.t_on_branch("ksr_branch_manage") end
    end
    if KSR.is_method_in("ISU") then
        if KSR.tm.t_is_set("onreply_route") < 0 then KSR.tm.t_on_reply("ksr_onreply_manage") end
    end
    if KSR.is_INVITE() then
        if KSR.tm.t_is_set("failure_route") < 0 then KSR.tm.t_on_failure("ksr_failure_manage") end
    end

    if KSR.tm.t_relay() < 0 then KSR.sl.sl_reply_error() end
    KSR.x.exit()
end

-- The real target of a request within a dialog may be in the alias parameter of its URI.
function ksr_route_dlguri()
    if not KSR.isdsturiset() then KSR.nathelper.handle_ruri_alias() end
    return 1
end

-- Keeps the later messages of a dialog, and its media, on the way through NAT.
function ksr_route_natmanage()
    if KSR.siputils.is_request() > 0 then
        if KSR.siputils.has_totag() > 0 then
            if KSR.rr.check_route_param("nat=yes") > 0 then KSR.setbflag(FLB_NATB) end
        end
    end
    if not (KSR.isflagset(FLT_NATS) or KSR.isbflagset(FLB_NATB)) then return 1 end

    KSR.rtpproxy.rtpproxy_manage("co")

    if KSR.siputils.is_request() > 0 then
        if KSR.siputils.has_totag() < 0 then
            if KSR.tmx.t_is_branch_route() > 0 then KSR.rr.add_rr_param(";nat=yes") end
        end
    end
    if KSR.siputils.is_reply() > 0 then
        if KSR.isbflagset(FLB_NATB) then KSR.nathelper.set_contact_alias() end
    end
    return 1
end

function ksr_branch_manage()
    KSR.dbg("branch [" .. KSR.pv.get("$T_branch_idx") .. "] goes to " .. KSR.pv.get("$ru") .. "\n")
    ksr_route_natmanage()
    return 1
end

function ksr_onreply_manage()
    KSR.dbg("a reply\n")
    local code = KSR.pv.get("$rs")
    if code > 100 and code < 299 then ksr_route_natmanage() end
    return 1
end

function ksr_failure_manage()
    ksr_route_natmanage()
    if KSR.tm.t_is_canceled() > 0 then return 1 end
    return 1
end

function ksr_reply_route()
    KSR.info("a reply has come to the Lua script\n")
    return 1
end
