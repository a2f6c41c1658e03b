_custom__audit() {
    local i cur prev opts cmd
    COMPREPLY=()
    if [[ "${BASH_VERSINFO[0]}" -ge 4 ]]; then
        cur="$2"
    else
        cur="${COMP_WORDS[COMP_CWORD]}"
    fi
    prev="$3"
    cmd=""
    opts=""

    for i in "${COMP_WORDS[@]:0:COMP_CWORD}"
    do
        case "${cmd},${i}" in
            ",$1")
                cmd="custom__audit"
                ;;
            custom__audit,doctor)
                cmd="custom__audit__subcmd__doctor"
                ;;
            custom__audit,explain)
                cmd="custom__audit__subcmd__explain"
                ;;
            *)
                ;;
        esac
    done

    case "${cmd}" in
        custom__audit)
            opts="-h -V --wodle --full --watch --output --max-events --process-key --geo-peer --table --check-config --home --state-dir --config --help --version doctor explain"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 1 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --watch)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --output)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --max-events)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --process-key)
                    COMPREPLY=($(compgen -W "object string" -- "${cur}"))
                    return 0
                    ;;
                --home)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --state-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        custom__audit__subcmd__doctor)
            opts="-h --json --home --state-dir --config --help"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --home)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --state-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
        custom__audit__subcmd__explain)
            opts="-h --home --state-dir --config --help timestamp wodle schema event process process_name pid dstuser user local_addr remote_addr local_ip local_port remote_ip remote_port protocol family state direction direction_by remote_scope bind_scope srcip srcport dstip dstport ip_protocol interface ethertype fd fds stdio_socket inode cookie holders holder_pids euid ruid suid loginuid socket_uid socket_uid_mismatch root_reason caps exe exe_deleted exe_replaced exe_location exe_sha256 exe_mode cmdline ppid parent_process parent_exe ancestry tty start_time netns netns_host container_id container_runtime unit cgroup first_seen age_s new_remote new_exe seen_count hint baseline sockets_total root_sockets root_processes scanned_pids scanned_fds new closed unattributed emitted suppressed deferred races netns_count strategy degraded looks duration_ms cpu_ms version hostname kernel boot_time uptime_s error_kind error scan_id"
            if [[ ${cur} == -* || ${COMP_CWORD} -eq 2 ]] ; then
                COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
                return 0
            fi
            case "${prev}" in
                --home)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --state-dir)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                --config)
                    COMPREPLY=($(compgen -f "${cur}"))
                    return 0
                    ;;
                *)
                    COMPREPLY=()
                    ;;
            esac
            COMPREPLY=( $(compgen -W "${opts}" -- "${cur}") )
            return 0
            ;;
    esac
}

if [[ "${BASH_VERSINFO[0]}" -eq 4 && "${BASH_VERSINFO[1]}" -ge 4 || "${BASH_VERSINFO[0]}" -gt 4 ]]; then
    complete -F _custom__audit -o nosort -o bashdefault -o default custom-audit
else
    complete -F _custom__audit -o bashdefault -o default custom-audit
fi
