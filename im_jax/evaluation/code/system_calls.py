"""System calls that a program of a model is refused: what each is for, and its number on two architectures.

Numbers from 424 on are the same everywhere, and none of these calls is allowed: see `confinement`.
"""

from typing import Final

_REFUSED: Final = """
# sockets
socket:41:198 socketpair:53:199 bind:49:200 connect:42:203 listen:50:201 accept:43:202
accept4:288:242 sendto:44:206 sendmsg:46:211 sendmmsg:307:269 recvfrom:45:207 recvmsg:47:212
recvmmsg:299:243
# processes and programs
fork:57: vfork:58: execve:59:221 execveat:322:281 uselib:134:
# signals
kill:62:129 tkill:200:130 tgkill:234:131 rt_sigqueueinfo:129:138 rt_tgsigqueueinfo:297:240
# other processes
ptrace:101:117 process_vm_readv:310:270 process_vm_writev:311:271 kcmp:312:272
perf_event_open:298:241 bpf:321:280 userfaultfd:323:282 setpriority:141:140 ioprio_set:251:30
sched_setaffinity:203:122 sched_setparam:142:118 sched_setscheduler:144:119 sched_setattr:314:274
migrate_pages:256:238 move_pages:279:239 mbind:237:235 set_mempolicy:238:237
# files
creat:85: truncate:76:45 ftruncate:77:46 fallocate:285:47 rename:82: renameat:264:38
renameat2:316:276 unlink:87: unlinkat:263:35 mkdir:83: mkdirat:258:34 rmdir:84: link:86:
linkat:265:37 symlink:88: symlinkat:266:36 mknod:133: mknodat:259:33 chmod:90: fchmod:91:52
fchmodat:268:53 chown:92: fchown:93:55 lchown:94: fchownat:260:54 utime:132: utimes:235:
futimesat:261: utimensat:280:88 setxattr:188:5 lsetxattr:189:6 fsetxattr:190:7 removexattr:197:14
lremovexattr:198:15 fremovexattr:199:16 open_by_handle_at:304:265 name_to_handle_at:303:264
flock:73:32 sync:162:81 syncfs:306:267 sync_file_range:277:84 memfd_create:319:279 io_setup:206:0
io_submit:209:2 io_destroy:207:1 io_getevents:208:4 io_cancel:210:3 io_pgetevents:333:292
fanotify_init:300:262 fanotify_mark:301:263 inotify_init:253: inotify_init1:294:26
inotify_add_watch:254:27 inotify_rm_watch:255:28 sendfile:40:71 copy_file_range:326:285
# what outlives a process
shmget:29:194 shmat:30:196 shmctl:31:195 shmdt:67:197 msgget:68:186 msgsnd:69:189 msgrcv:70:188
msgctl:71:187 semget:64:190 semop:65:193 semctl:66:191 semtimedop:220:192 mq_open:240:180
mq_unlink:241:181 mq_timedsend:242:182 mq_timedreceive:243:183 mq_notify:244:184
mq_getsetattr:245:185 keyctl:250:219 add_key:248:217 request_key:249:218
# the machine
mount:165:40 umount2:166:39 pivot_root:155:41 chroot:161:51 unshare:272:97 setns:308:268
swapon:167:224 swapoff:168:225 quotactl:179:60 acct:163:89 reboot:169:142 sethostname:170:161
setdomainname:171:162 settimeofday:164:170 clock_settime:227:112 adjtimex:159:171
clock_adjtime:305:266 init_module:175:105 finit_module:313:273 delete_module:176:106
kexec_load:246:104 kexec_file_load:320:294 syslog:103:116 vhangup:153:58 personality:135:92
modify_ldt:154: iopl:172: ioperm:173: lookup_dcookie:212:18 nfsservctl:180:42 vserver:236:
_sysctl:156: ustat:136:
# its own limits
seccomp:317:277 setrlimit:160:164 setuid:105:146 setgid:106:144 setreuid:113:145 setregid:114:143
setresuid:117:147 setresgid:119:149 setgroups:116:159 setfsuid:122:151 setfsgid:123:152
capset:126:91 setsid:112:157 setpgid:109:154
"""
"""Each as name:x86_64:aarch64; a number is missing where there is no such call."""


MACHINES: Final = ("x86_64", "aarch64")


def refused(machine: str) -> dict[str, int]:
    """Numbers of the calls that are refused on one of `MACHINES`, by name."""
    lines = [line for line in _REFUSED.splitlines() if not line.startswith("#")]
    parts = (word.split(":") for line in lines for word in line.split())
    column = 1 + MACHINES.index(machine)
    return {part[0]: int(part[column]) for part in parts if part[column]}
