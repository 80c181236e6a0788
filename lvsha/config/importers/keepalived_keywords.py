"""Every keyword of keepalived.conf by name, and what becomes of it.

The names are those that keepalived 2.2.7 takes (the tests ask the program itself, deprecated
ones too) and the ones that 2.3 and 2.4 added. A keyword is carried over by an importer's
method, or it stands here with the reason why not.
"""

from typing import Final, NamedTuple


class Reason(NamedTuple):
    """Why a keyword is left out."""

    text: str
    matters: bool = True


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


CARRIED: Final = {
    "global": _words(
        "global_defs router_id lvs_sync_daemon lvs_timeouts lvs_flush_on_stop vrrp_version"
        " default_interface vrrp_garp_master_delay vrrp_garp_master_repeat vrrp_garp_master_refresh"
        " vrrp_garp_interval vrrp_strict vrrp_check_unicast_src vrrp_skip_check_adv_addr vrrp_iptables"
        " nftables lvs_flush lvs_flush_onstop script_user enable_script_security"
        " vrrp_startup_delay vrrp_delay_after_boot"
    ),
    "vrrp": _words(
        "vrrp_instance state interface virtual_router_id priority advert_int authentication auth_type"
        " auth_pass"
        " virtual_ipaddress virtual_ipaddress_excluded unicast_peer unicast_src_ip mcast_src_ip nopreempt"
        " preempt preempt_delay version native_ipv6 garp_master_delay garp_master_repeat garp_master_refresh"
        " lvs_sync_daemon_interface skip_check_adv_addr strict_mode accept min_ttl v3_checksum_as_v2"
        " track_interface track_script track_process vrrp_script script interval timeout rise fall init_fail"
        " vrrp_track_process process vrrp_sync_group track_file vrrp_track_file file reverse delay fork_delay"
        " terminate_delay virtual_routes virtual_rules notify notify_master notify_backup notify_fault"
        " interface_up_down_delays use_vmac no_accept"
    ),
    "lvs": _words(
        "virtual_server virtual_server_group real_server sorry_server lvs_sched lb_algo lvs_method lb_kind"
        " protocol persistence_timeout persistence_granularity persistence_engine ops flag-1 flag-2 sh-port"
        " sh-fallback mh-port mh-fallback quorum hysteresis alpha inhibit_on_failure weight uthreshold"
        " lthreshold ip_family virtualhost sorry_server_lvs_method delay_loop connect_timeout retry"
        " delay_before_retry fwmark group nb_get_retry snmp_name"
    ),
    "check": _words(
        "TCP_CHECK HTTP_GET SSL_GET SMTP_CHECK DNS_CHECK UDP_CHECK PING_CHECK MISC_CHECK url path digest"
        " status_code regex regex_no_match http_protocol enable_sni sni_name connect_ip connect_port bindto"
        " bind_port bind_if host helo_name type name misc_path misc_timeout misc_dynamic user payload"
        " require_reply min_reply_length max_reply_length SSL ca certificate key"
    ),
}
"""By the block they stand in. Checks also take the timers of ``lvs``."""

_ITSELF = "lvsha needs no setting for it"
_NO_SNMP = "there is no SNMP and no D-Bus: `lvsha status --json`, /metrics and the API say what they said"
_MAIL = "write an [[alert]] with `mail`, `webhook` or `exec`: docs/how-to/get-alerts.md"
_STOP = "put it into a drop-in of the unit (ExecStopPost=); `hook` is told INIT when the agent stops"
_RUNS_AGAIN = (
    "hook_repeat runs `hook` again while the state lasts: set it, and let the script say MASTER again"
)
_FIFO = (
    "there is no FIFO: `lvsha events --follow --json` writes every change, one a line; read that in a unit"
)
_SERVER_HOOK = (
    "realservers and quorums start no program: read `lvsha events --follow --json`; to give"
    " the addresses away with a lost quorum: [[vrrp]] track = [{ service = NAME }]"
)
_FILE_CHECK = (
    'a file\'s number is not added to a weight: check = { type = "file", path = ... } takes a realserver out'
)
_TRACKED_PROCESS = (
    "a process is looked for by its name and one suffices: write a `track` with `script` (pgrep)"
)
_INIT_FILE = "the file is not made: let systemd-tmpfiles do that"
_PRIMARY = "a router whose own interface is down is always in FAULT: it could not be heard"
_STATIC = "belongs to the machine's network set-up (ifupdown, systemd-networkd): put it there"
_VMAC = "use_vmac is carried: all addresses of a router are on it; unicast adverts leave from below"
_BFD = (
    "there is no BFD: a 10 ms advert_interval finds a dead director as fast, and"
    ' track = [{ gateway = "..." }] a lost neighbour'
)
_FIREWALL = "virtual addresses answer; drop what you do not want with your own nftables rules"

REASONS: Final[dict[str, Reason]] = {
    word: reason
    for words, reason in (
        # global
        (
            "notification_email notification_email_from smtp_server smtp_helo_name smtp_connect_timeout"
            " smtp_alert smtp_alert_vrrp smtp_alert_checker no_email_faults no_checker_emails",
            Reason(_MAIL, matters=False),
        ),
        (
            "snmp_socket enable_snmp_vrrp enable_snmp_checker enable_snmp_rfc enable_snmp_rfcv2"
            " enable_snmp_rfcv3"
            " enable_traps enable_snmp_keepalived snmp_server enable_dbus dbus_service_name"
            " dbus_no_interface_name"
            " snmp_vs_stats_update_interval snmp_rs_stats_update_interval",
            Reason(_NO_SNMP, matters=False),
        ),
        (
            "process_names process_name vrrp_process_name checker_process_name lvs_process_name"
            " bfd_process_name vrrp_priority"
            " checker_priority bfd_priority vrrp_no_swap checker_no_swap bfd_no_swap vrrp_cpu_affinity"
            " checker_cpu_affinity bfd_cpu_affinity vrrp_rt_priority checker_rt_priority bfd_rt_priority"
            " vrrp_rlimit_rttime checker_rlimit_rttime bfd_rlimit_rttime vrrp_rlimit_rtime"
            " checker_rlimit_rtime"
            " bfd_rlimit_rtime max_auto_priority min_auto_priority_delay child_wait_time use_pid_dir"
            " vrrp_netlink_cmd_rcv_bufs vrrp_netlink_cmd_rcv_bufs_force vrrp_netlink_monitor_rcv_bufs"
            " vrrp_netlink_monitor_rcv_bufs_force lvs_netlink_cmd_rcv_bufs lvs_netlink_cmd_rcv_bufs_force"
            " lvs_netlink_monitor_rcv_bufs lvs_netlink_monitor_rcv_bufs_force process_monitor_rcv_bufs"
            " process_monitor_rcv_bufs_force vrrp_rx_bufs_policy vrrp_rx_bufs_multiplier kernel_rx_buf_size"
            " random_seed umask tmp_config_directory config_save_dir data_use_instance log_unknown_vrids"
            " checker_log_all_failures log_all_failures rs_init_notifies fifo_write_vrrp_states_on_reload"
            " reload_check_config reload_time_file reload_repeat reload_file include_check json_version"
            " state_dump_file stats_dump_file json_dump_file iproute_usr_dir iproute_etc_dir debug"
            " linkbeat_use_polling linkbeat_interfaces linkbeat_miimon vrrp_min_garp"
            " dynamic_interfaces use_symlink_paths disable_local_igmp vrrp_notify_priority_changes"
            " notify_priority_changes check_unicast_src promote_secondaries old_unicast_checksum hashed"
            " nftables_counters nftables_ifindex nftables_priority instance warmup fast_recovery"
            " vrrp_ipsets namespace_with_ipsets tls_compliant regex_stack omega ha_suspend",
            Reason(_ITSELF, matters=False),
        ),
        (
            "nftables_ipvs nftables_ipvs_priority nftables_ipvs_start_fwmark",
            Reason("each address of a group becomes a service of its own", matters=False),
        ),
        (
            "startup_script startup_script_timeout shutdown_script shutdown_script_timeout",
            Reason("put it into a drop-in of the unit (ExecStartPre=, ExecStopPost=)"),
        ),
        (
            "notify_fifo notify_fifo_script vrrp_notify_fifo vrrp_notify_fifo_script lvs_notify_fifo"
            " lvs_notify_fifo_script",
            Reason(_FIFO),
        ),
        ("notify_stop notify_deleted", Reason(_STOP)),
        ("notify_master_rx_lower_pri", Reason(_RUNS_AGAIN)),
        ("notify_up notify_down quorum_up quorum_down", Reason(_SERVER_HOOK)),
        (
            "net_namespace net_namespace_ipvs",
            Reason("start the agent inside the namespace: `ip netns exec NAME lvsha agent`"),
        ),
        (
            "vrrp_mcast_group4 vrrp_mcast_group6 mcast_dst_ip",
            Reason("adverts go to the group of the RFC (224.0.0.18, ff02::12), or to unicast_peers"),
        ),
        (
            "vrrp_garp_master_refresh_repeat garp_master_refresh_repeat vrrp_garp_lower_prio_delay"
            " vrrp_garp_lower_prio_repeat garp_lower_prio_delay garp_lower_prio_repeat vrrp_garp_extra_if"
            " garp_extra_if vrrp_vmac_garp_intvl vmac_garp_intvl vrrp_gna_interval garp_group garp_interval"
            " gna_interval interfaces",
            Reason("[[vrrp]].garp paces every announcement: repeat, interval, refresh", matters=False),
        ),
        (
            "vrrp_lower_prio_no_advert vrrp_higher_prio_send_advert lower_prio_no_advert"
            " higher_prio_send_advert"
            " vrrp_down_timer_adverts down_timer_adverts timer_expired_backup thread_timer_expired"
            " owner_ignore_adverts unicast_ttl",
            Reason("lvsha does as RFC 9568 says here", matters=False),
        ),
        ("static_ipaddress static_routes static_rules", Reason(_STATIC)),
        (
            "track_group",
            Reason("follows static addresses and routes, which are not carried over", matters=False),
        ),
        ("param_match quorum_max full_command", Reason(_TRACKED_PROCESS)),
        ("init_file overwrite", Reason(_INIT_FILE)),
        ("FILE_CHECK", Reason(_FILE_CHECK)),
        ("dont_track_primary", Reason(_PRIMARY)),
        (
            "track_src_ip",
            Reason("an address is not tracked: track its interface, or a gateway that it reaches"),
        ),
        ("unicast_fault_no_peer", Reason("a router without peers goes on", matters=False)),
        # vrrp
        (
            "sync_group_tracking_weight global_tracking",
            Reason("what a group tracks counts for all its members, weights too", matters=False),
        ),
        (
            "use_vmac_addr use_ipvlan vmac_xmit_base vmac_prefix vmac_addr_prefix vrf",
            Reason(_VMAC),
        ),
        ("no_virtual_ipaddress", Reason(_FIREWALL)),
        (
            "auth_hmac active_key anti_replay time_window mode",
            Reason(
                "keepalived's HMAC is its own: with lvsha on all directors, and a key_file, adverts are"
                ' authenticated (authentication = "hmac")'
            ),
        ),
        # bfd
        (
            "bfd_instance BFD_CHECK track_bfd neighbor_ip neighbour_ip source_ip min_rx min_tx"
            " idle_tx multiplier passive ttl hoplimit max_hops checker vrrp",
            Reason(_BFD),
        ),
        # lvs
        (
            "sorry_server_inhibit",
            Reason("a sorry server comes and goes with the quorum", matters=False),
        ),
        ("flag-3", Reason("no scheduler knows this flag", matters=False)),
        (
            "regex_options regex_min_offset regex_max_offset",
            Reason("write the options into the expression (Python syntax): body_regex = '(?i)...'"),
        ),
        ("password", Reason("a key with a password cannot be used: remove it (openssl pkey)")),
    )
    for word in words.split()
}
"""By name; a word that is known in several blocks has one reason."""


def known() -> frozenset[str]:
    """All keywords that are known by name."""
    return frozenset().union(*CARRIED.values(), REASONS)
