"""A bare-metal laptop's /sys and /proc, as far as the lab looks at what disturbs: every value is one that disturbs."""

from pathlib import Path

FILES = {
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "powersave",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_available_governors": "performance powersave",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "4200000",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_setspeed": "<unsupported>",
    "sys/devices/system/cpu/cpufreq/policy0/powersave/ignore_nice_load": "1",
    "sys/devices/system/cpu/cpufreq/policy1/scaling_governor": "powersave",
    "sys/devices/system/cpu/cpufreq/policy1/scaling_available_governors": "performance powersave",
    "sys/devices/system/cpu/cpufreq/policy1/scaling_max_freq": "4100000",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "0",
    "sys/devices/system/cpu/cpu0/cpuidle/state0/latency": "0",
    "sys/devices/system/cpu/cpu0/cpuidle/state0/disable": "0",
    "sys/devices/system/cpu/cpu0/cpuidle/state3/latency": "890",
    "sys/devices/system/cpu/cpu0/cpuidle/state3/disable": "0",
    "sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never",
    "proc/sys/kernel/randomize_va_space": "2",
    "proc/swaps": "Filename Type Size Used Priority\n/dev/sda2 partition 2097148 51200 -2",
    "proc/stat": "cpu  100 0 50 1000 0 0 0 10 0 0\ncpu0 100 0 50 1000 0 0 0 10 0 0",
    "proc/1/comm": "systemd",
    "proc/17/comm": "irqbalance",
    "proc/18/comm": "chronyd",
    "proc/19/comm": "bash",
}


def write(root: Path) -> Path:
    """Lay the tree down."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="ascii")
    return root


def read(root: Path) -> dict[str, str]:
    """What it holds now."""
    return {name: (root / name).read_text(encoding="ascii").rstrip("\n") for name in FILES}
