# Routing in Ruby. Same order, names and behaviour as native.cfg and lua.lua: read them side by side; native.cfg says
# what differs from the 2018 page.
#
# A route returns true when the request is done with: its caller then returns, as "exit" does in native.cfg. Ruby's exit
# would end the script, too, by the dearer way of an exception. A method returns what its last line is worth, so every
# route that is asked says true or false. Functions of modules return a number, of which only a positive one means yes
# (any number is true to Ruby, even 0); those of the core (KSR.is_...) return true or false. A native script ends by
# itself when a function returns 0; here that takes a line of its own. What is null comes from KSR::PV.get as nil, from
# KSR::PV.gete as "".
#
# Kamailio's modules are Ruby's, with their names in capitals.

# as in kamailio.cfg
FLT_ACC = 1
FLT_ACCMISSED = 2
FLT_ACCFAILED = 3
FLT_NATS = 5
FLB_NATB = 6
FLB_NATSIPPING = 7

def ksr_request_route
  return if ksr_route_reqinit
  ksr_route_natdetect

  if KSR.is_CANCEL
    ksr_route_relay if KSR::TM.t_check_trans > 0
    return
  end

  return if ksr_route_withindlg

  # --- from here on: requests outside of dialogs

  # a retransmission is answered by its transaction
  if KSR::TMX.t_precheck_trans > 0
    KSR::TM.t_check_trans
    return
  end
  return if KSR::TM.t_check_trans == 0

  return if ksr_route_auth

  # no preloaded routes
  KSR::HDR.remove("Route")
  KSR::RR.record_route if KSR.is_method_in("IS")
  KSR.setflag(FLT_ACC) if KSR.is_INVITE

  return if ksr_route_sipout

  # --- from here on: requests to this domain

  return if ksr_route_registrar

  if KSR::COREX.has_ruri_user < 0
    KSR::SL.sl_send_reply(484, "Address Incomplete")
    return
  end
  ksr_route_location
end

# Floods, scanners, loops, keepalives, malformed messages.
def ksr_route_reqinit
  return true if !KSR.is_myself_srcip && ksr_route_flood

  if KSR::COREX.has_user_agent > 0
    ua = KSR::PV.gete("$ua").downcase
    if ua.include?("friendly-scanner") || ua.include?("sipcli")
      KSR::SL.sl_send_reply(200, "OK")
      return true
    end
  end

  if KSR::MAXFWD.process_maxfwd(10) < 0
    KSR::SL.sl_send_reply(483, "Too Many Hops")
    return true
  end

  if KSR.is_OPTIONS && KSR.is_myself_ruri && KSR::COREX.has_ruri_user < 0
    KSR::HDR.append_to_reply("X-Lab-Engine: ruby\r\n")
    KSR::SL.sl_send_reply(200, "Keepalive")
    return true
  end

  # it answers by itself
  if KSR::SANITY.sanity_check(1511, 7) < 0
    KSR.err("malformed SIP message from #{KSR::PV.get("$si")}:#{KSR::PV.get("$sp")}\n")
    return true
  end

  false
end

# A sender that is not ourselves, and sends too much, is not answered until its ban has run out.
def ksr_route_flood
  return true if KSR::PV.get("$sht(ipban=>$si)") == 1
  return false if KSR::PIKE.pike_check_req > 0

  KSR::PV.seti("$sht(ipban=>$si)", 1)
  KSR.err("pike bans #{KSR::PV.get("$si")} for a flood, seen at #{KSR::PV.get("$rm")} from #{KSR::PV.gete("$fu")}, " \
          "port #{KSR::PV.get("$sp")}\n")
  true
end

# Is the sender behind NAT?
def ksr_route_natdetect
  KSR.force_rport
  if KSR::NATHELPER.nat_uac_test(19) > 0
    if KSR.is_REGISTER
      KSR::NATHELPER.fix_nated_register
    elsif KSR::SIPUTILS.is_first_hop > 0
      KSR::NATHELPER.set_contact_alias
    end
    KSR.setflag(FLT_NATS)
  end
end

# Requests within a dialog follow the path that record-routing set.
def ksr_route_withindlg
  return false if KSR::SIPUTILS.has_totag < 0

  if KSR::RR.loose_route > 0
    ksr_route_dlguri
    if KSR.is_BYE
      KSR.setflag(FLT_ACC)
      KSR.setflag(FLT_ACCFAILED)
    elsif KSR.is_ACK
      # forwarded without a transaction, so without a branch route
      ksr_route_natmanage
    elsif KSR.is_NOTIFY
      # RFC 6665
      KSR::RR.record_route
    end
    return ksr_route_relay
  end

  if KSR.is_ACK
    # of a negative reply; any other is dropped
    ksr_route_relay if KSR::TM.t_check_trans > 0
    return true
  end

  KSR::SL.sl_send_reply(404, "Not here")
  true
end

# Trusted addresses may do anything but register; local users prove who they are; nobody else may use us as a relay.
def ksr_route_auth
  return false if !KSR.is_REGISTER && KSR::PERMISSIONS.allow_source_address(1) > 0

  if KSR.is_REGISTER || KSR.is_myself_furi
    realm = KSR::PV.gete("$fd")
    if KSR::AUTH_DB.auth_check(realm, "subscriber", 1) < 0
      KSR::AUTH.auth_challenge(realm, 0)
      return true
    end
    KSR::AUTH.consume_credentials if !KSR.is_method_in("RP")
  end

  if !KSR.is_myself_furi && !KSR.is_myself_ruri
    KSR::SL.sl_send_reply(403, "Not relaying")
    return true
  end

  false
end

# Requests to other domains.
def ksr_route_sipout
  return false if KSR.is_myself_ruri

  KSR::HDR.append("P-Hint: outbound\r\n")
  ksr_route_relay
end

def ksr_route_registrar
  return false if !KSR.is_REGISTER

  if KSR.isflagset(FLT_NATS)
    KSR.setbflag(FLB_NATB)
    KSR.setbflag(FLB_NATSIPPING)
  end
  KSR::SL.sl_reply_error if KSR::REGISTRAR.save("location", 0) < 0
  true
end

# Requests to our users.
def ksr_route_location
  found = KSR::REGISTRAR.lookup("location")
  if found > 0
    KSR.setflag(FLT_ACCMISSED) if KSR.is_INVITE
    return ksr_route_relay
  end

  # answered within a transaction, which absorbs retransmissions
  return true if found == 0 || KSR::TM.t_newtran == 0
  if found == -2
    KSR::SL.send_reply(405, "Method Not Allowed")
  else
    KSR::SL.send_reply(404, "Not Found")
  end
  true
end

# Sends the request on its way. A request comes here once, so nothing is set yet.
def ksr_route_relay
  KSR::TM.t_on_failure("ksr_manage_failure") if KSR.is_INVITE
  KSR::TM.t_on_reply("ksr_manage_reply") if KSR.is_method_in("ISU")
  KSR::TM.t_on_branch("ksr_manage_branch") if KSR.is_method_in("ISUB")

  KSR::SL.sl_reply_error if KSR::TM.t_relay < 0
  true
end

# The real target of a request within a dialog may be in the alias parameter of its URI.
def ksr_route_dlguri
  KSR::NATHELPER.handle_ruri_alias if !KSR.isdsturiset
end

# Keeps the later messages of a dialog on the way through NAT.
def ksr_route_natmanage
  if KSR::SIPUTILS.is_request > 0 && KSR::SIPUTILS.has_totag > 0 && KSR::RR.check_route_param("nat=yes") > 0
    KSR.setbflag(FLB_NATB)
  end
  return if !KSR.isflagset(FLT_NATS) && !KSR.isbflagset(FLB_NATB)

  if KSR::SIPUTILS.is_request > 0
    KSR::RR.add_rr_param(";nat=yes") if KSR::SIPUTILS.has_totag < 0 && KSR::TMX.t_is_branch_route > 0
  elsif KSR.isbflagset(FLB_NATB)
    KSR::NATHELPER.set_contact_alias
  end
end

def ksr_manage_branch
  ksr_route_natmanage
end

def ksr_manage_reply
  code = KSR::PV.get("$rs")
  ksr_route_natmanage if code > 100 && code < 300
end

def ksr_manage_failure
  ksr_route_natmanage
  return if KSR::TM.t_is_canceled > 0
  # here a call could be tried elsewhere
end
