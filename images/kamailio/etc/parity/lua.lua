-- Routing in Lua. Same order, names and behaviour as native.cfg and python3.py: read them side by side; native.cfg says
-- what differs from the 2018 page.
--
-- A route ends the whole script, as "exit" does in native.cfg, with KSR.x.exit(); Lua's own os.exit() would end the
-- worker. Functions of modules return a number, of which only a positive one means yes; those of the core (KSR.is_...)
-- return a boolean. A native script ends by itself when a function returns 0; here that takes a line of its own.

-- as in kamailio.cfg
local FLT_ACC = 1
local FLT_ACCMISSED = 2
local FLT_ACCFAILED = 3
local FLT_NATS = 5
local FLB_NATB = 6
local FLB_NATSIPPING = 7

-- both interpreters run this script; only LuaJIT has this table
local ENGINE = jit and "luajit" or "lua"

function ksr_request_route()
    ksr_route_reqinit()
    ksr_route_natdetect()

    if KSR.is_CANCEL() then
        if KSR.tm.t_check_trans() > 0 then ksr_route_relay() end
        return
    end

    ksr_route_withindlg()

    -- --- from here on: requests outside of dialogs

    -- a retransmission is answered by its transaction
    if KSR.tmx.t_precheck_trans() > 0 then
        KSR.tm.t_check_trans()
        return
    end
    if KSR.tm.t_check_trans() == 0 then return end

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
        return
    end
    ksr_route_location()
end

-- Floods, scanners, loops, keepalives, malformed messages.
function ksr_route_reqinit()
    if not KSR.is_myself_srcip() then ksr_route_flood() end

    if KSR.corex.has_user_agent() > 0 then
        local ua = string.lower(KSR.pv.gete("$ua"))
        -- plain search: in a pattern "-" would be a repetition
        if string.find(ua, "friendly-scanner", 1, true) or string.find(ua, "sipcli", 1, true) then
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
        KSR.err("malformed SIP message from " .. KSR.pv.get("$si") .. ":" .. KSR.pv.get("$sp") .. "\n")
        KSR.x.exit()
    end
end

-- A sender that is not ourselves, and sends too much, is not answered until its ban has run out.
function ksr_route_flood()
    if KSR.pv.get("$sht(ipban=>$si)") == 1 then KSR.x.exit() end
    if KSR.pike.pike_check_req() > 0 then return end

    KSR.pv.seti("$sht(ipban=>$si)", 1)
    KSR.err("pike bans " .. KSR.pv.get("$si") .. " for a flood, seen at " .. KSR.pv.get("$rm") .. " from "
        .. KSR.pv.gete("$fu") .. ", port " .. KSR.pv.get("$sp") .. "\n")
    KSR.x.exit()
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
end

-- Requests within a dialog follow the path that record-routing set.
function ksr_route_withindlg()
    if KSR.siputils.has_totag() < 0 then return end

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
    if not KSR.is_REGISTER() and KSR.permissions.allow_source_address(1) > 0 then return end

    if KSR.is_REGISTER() or KSR.is_myself_furi() then
        local realm = KSR.pv.gete("$fd")
        if KSR.auth_db.auth_check(realm, "subscriber", 1) < 0 then
            KSR.auth.auth_challenge(realm, 0)
            KSR.x.exit()
        end
        if not KSR.is_method_in("RP") then KSR.auth.consume_credentials() end
    end

    if not KSR.is_myself_furi() and not KSR.is_myself_ruri() then
        KSR.sl.sl_send_reply(403, "Not relaying")
        KSR.x.exit()
    end
end

-- Requests to other domains.
function ksr_route_sipout()
    if KSR.is_myself_ruri() then return end

    KSR.hdr.append("P-Hint: outbound\r\n")
    ksr_route_relay()
end

function ksr_route_registrar()
    if not KSR.is_REGISTER() then return end

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
    if found > 0 then
        if KSR.is_INVITE() then KSR.setflag(FLT_ACCMISSED) end
        ksr_route_relay()
    end

    -- answered within a transaction, which absorbs retransmissions
    if found == 0 or KSR.tm.t_newtran() == 0 then return end
    if found == -2 then
        KSR.sl.send_reply(405, "Method Not Allowed")
    else
        KSR.sl.send_reply(404, "Not Found")
    end
    KSR.x.exit()
end

-- Sends the request on its way; never returns. A request comes here once, so nothing is set yet.
function ksr_route_relay()
    if KSR.is_INVITE() then KSR.tm.t_on_failure("ksr_manage_failure") end
    if KSR.is_method_in("ISU") then KSR.tm.t_on_reply("ksr_manage_reply") end
    if KSR.is_method_in("ISUB") then KSR.tm.t_on_branch("ksr_manage_branch") end

    if KSR.tm.t_relay() < 0 then KSR.sl.sl_reply_error() end
    KSR.x.exit()
end

-- The real target of a request within a dialog may be in the alias parameter of its URI.
function ksr_route_dlguri()
    if not KSR.isdsturiset() then KSR.nathelper.handle_ruri_alias() end
end

-- Keeps the later messages of a dialog on the way through NAT.
function ksr_route_natmanage()
    if KSR.siputils.is_request() > 0 and KSR.siputils.has_totag() > 0
        and KSR.rr.check_route_param("nat=yes") > 0 then
        KSR.setbflag(FLB_NATB)
    end
    if not KSR.isflagset(FLT_NATS) and not KSR.isbflagset(FLB_NATB) then return end

    if KSR.siputils.is_request() > 0 then
        if KSR.siputils.has_totag() < 0 and KSR.tmx.t_is_branch_route() > 0 then
            KSR.rr.add_rr_param(";nat=yes")
        end
    elseif KSR.isbflagset(FLB_NATB) then
        KSR.nathelper.set_contact_alias()
    end
end

function ksr_manage_branch()
    ksr_route_natmanage()
end

function ksr_manage_reply()
    local code = KSR.pv.get("$rs")
    if code > 100 and code < 300 then ksr_route_natmanage() end
end

function ksr_manage_failure()
    ksr_route_natmanage()
    if KSR.tm.t_is_canceled() > 0 then return end
    -- here a call could be tried elsewhere
end
