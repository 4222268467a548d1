/* requests.c: what the kernel asks of the disk, one function a question.
 *
 * Nobody else changes the tree, so the kernel may keep names, attributes and pages for ever, and need not say
 * when it opens and closes: every file is open as long as the kernel knows it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "nemesis/disk/volume.h"

#define FOR_EVER_S 1e9
#define TRANSFER_SIZE (1u << 20)

static struct volume *volume_of(fuse_req_t request) {
  return fuse_req_userdata(request);
}

static struct inode *inode_of(fuse_req_t request, fuse_ino_t number) {
  return number == FUSE_ROOT_ID ? volume_of(request)->root : (struct inode *)(uintptr_t)number;
}

static void set_up(void *context, struct fuse_conn_info *connection) {
  (void)context;
  connection->max_write = TRANSFER_SIZE;
  /* A truncation at opening has to be said: nothing else of opening is. */
  connection->want &= ~(unsigned)(FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS);
}

/* ---- Names ---- */

static void reply_entry(fuse_req_t request, int status, struct inode *inode) {
  struct volume *volume = volume_of(request);
  struct fuse_entry_param entry = {.attr_timeout = FOR_EVER_S, .entry_timeout = FOR_EVER_S};
  if (status == 0)
    status = inode_stat(&volume->inodes, inode, &entry.attr);
  if (status == -ENOENT) {
    fuse_reply_entry(request, &entry); /* that there is none may be kept, too */
    return;
  }
  if (status != 0) {
    fuse_reply_err(request, -status);
    return;
  }
  entry.ino = (fuse_ino_t)(uintptr_t)inode;
  fuse_reply_entry(request, &entry);
}

static void look_up(fuse_req_t request, fuse_ino_t parent, const char *name) {
  struct inode *inode = NULL;
  const int status = inodes_open(&volume_of(request)->inodes, inode_of(request, parent)->fd, name, &inode);
  reply_entry(request, status, inode);
}

static void forget(fuse_req_t request, fuse_ino_t number, uint64_t lookups) {
  if (number != FUSE_ROOT_ID)
    inodes_forget(&volume_of(request)->inodes, inode_of(request, number), lookups);
  fuse_reply_none(request);
}

static void create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, dev_t device) {
  (void)device;
  struct volume *volume = volume_of(request);
  struct inode *inode = NULL;
  int status = S_ISREG(mode) ? -switch_grow(volume) : -EPERM;
  if (status == 0)
    status = names_create(&volume->names, inode_of(request, parent), name, mode & 07777, &inode);
  reply_entry(request, status, inode);
}

static void make_directory(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode) {
  struct volume *volume = volume_of(request);
  struct inode *inode = NULL;
  int status = -switch_grow(volume);
  if (status == 0)
    status = names_make_directory(&volume->names, inode_of(request, parent), name, mode & 07777, &inode);
  reply_entry(request, status, inode);
}

static void link_to(fuse_req_t request, fuse_ino_t number, fuse_ino_t parent, const char *name) {
  struct volume *volume = volume_of(request);
  struct inode *inode = inode_of(request, number);
  int status = -switch_grow(volume);
  if (status == 0)
    status = names_link(&volume->names, inode, inode_of(request, parent), name);
  if (status == 0)
    inodes_look_up(&volume->inodes, inode);
  reply_entry(request, status, inode);
}

static void remove_name(fuse_req_t request, fuse_ino_t parent, const char *name) {
  fuse_reply_err(request, -names_remove(&volume_of(request)->names, inode_of(request, parent), name));
}

static void move(fuse_req_t request, fuse_ino_t parent, const char *name, fuse_ino_t to_parent,
                 const char *to_name, unsigned flags) {
  fuse_reply_err(request, -names_move(&volume_of(request)->names, inode_of(request, parent), name,
                                      inode_of(request, to_parent), to_name, flags));
}

static void sync_directory(fuse_req_t request, fuse_ino_t number, int data_only,
                           struct fuse_file_info *unused) {
  (void)data_only;
  (void)unused;
  struct volume *volume = volume_of(request);
  const int refused = switch_sync(volume);
  if (refused == 0)
    names_sync(&volume->names, inode_of(request, number));
  fuse_reply_err(request, refused);
}

/* ---- Attributes ---- */

static void reply_attributes(fuse_req_t request, struct inode *inode) {
  struct stat info;
  const int status = inode_stat(&volume_of(request)->inodes, inode, &info);
  if (status != 0)
    fuse_reply_err(request, -status);
  else
    fuse_reply_attr(request, &info, FOR_EVER_S);
}

static void get_attributes(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *unused) {
  (void)unused;
  reply_attributes(request, inode_of(request, number));
}

static struct timespec time_to_set(int which, int now, int given, const struct timespec *value) {
  if ((which & now) != 0)
    return (struct timespec){.tv_nsec = UTIME_NOW};
  return (which & given) != 0 ? *value : (struct timespec){.tv_nsec = UTIME_OMIT};
}

static void set_attributes(fuse_req_t request, fuse_ino_t number, struct stat *wanted, int which,
                           struct fuse_file_info *unused) {
  (void)unused;
  struct inode *inode = inode_of(request, number);
  const int times =
      FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW;
  const struct timespec both[2] = {
      time_to_set(which, FUSE_SET_ATTR_ATIME_NOW, FUSE_SET_ATTR_ATIME, &wanted->st_atim),
      time_to_set(which, FUSE_SET_ATTR_MTIME_NOW, FUSE_SET_ATTR_MTIME, &wanted->st_mtim)};
  const uid_t owner = (which & FUSE_SET_ATTR_UID) != 0 ? wanted->st_uid : (uid_t)-1;
  const gid_t group = (which & FUSE_SET_ATTR_GID) != 0 ? wanted->st_gid : (gid_t)-1;
  int status = 0;
  if ((which & FUSE_SET_ATTR_SIZE) != 0)
    status = inode->directory ? -EISDIR : file_resize(&inode->file, (uint64_t)wanted->st_size);
  if (status == 0 && (which & FUSE_SET_ATTR_MODE) != 0 && fchmod(inode->fd, wanted->st_mode & 07777) != 0)
    status = -errno;
  if (status == 0 && (which & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0 &&
      fchown(inode->fd, owner, group) != 0)
    status = -errno;
  if (status == 0 && (which & times) != 0 && futimens(inode->fd, both) != 0)
    status = -errno;
  if (status != 0)
    fuse_reply_err(request, -status);
  else
    reply_attributes(request, inode);
}

/* ---- Bytes ---- */

static void not_worth_asking(fuse_req_t request, fuse_ino_t number, struct fuse_file_info *unused) {
  (void)number;
  (void)unused;
  fuse_reply_err(request, ENOSYS);
}

static void read_bytes(fuse_req_t request, fuse_ino_t number, size_t size, off_t offset,
                       struct fuse_file_info *unused) {
  (void)unused;
  const int refused = switch_read(volume_of(request));
  if (refused != 0) {
    fuse_reply_err(request, refused);
    return;
  }
  char *buffer = xmalloc(size);
  const ssize_t got = pread(inode_of(request, number)->fd, buffer, size, offset);
  if (got < 0)
    fuse_reply_err(request, errno);
  else
    fuse_reply_buf(request, buffer, (size_t)got);
  free(buffer);
}

static void write_bytes(fuse_req_t request, fuse_ino_t number, const char *data, size_t size, off_t offset,
                        struct fuse_file_info *unused) {
  (void)unused;
  struct volume *volume = volume_of(request);
  struct file *file = &inode_of(request, number)->file;
  ssize_t written = -switch_write(volume, file, (uint64_t)offset, size);
  if (written == 0)
    written = file_write(file, data, size, (uint64_t)offset);
  if (written < 0) {
    fuse_reply_err(request, (int)-written);
    return;
  }
  atomic_fetch_add(&volume->tally.bytes_written, (uint64_t)written);
  fuse_reply_write(request, (size_t)written);
}

static void set_room_aside(fuse_req_t request, fuse_ino_t number, int mode, off_t offset, off_t size,
                           struct fuse_file_info *unused) {
  (void)unused;
  int status = -switch_grow(volume_of(request));
  if (status == 0)
    status = file_allocate(&inode_of(request, number)->file, mode, (uint64_t)offset, (uint64_t)size);
  fuse_reply_err(request, -status);
}

static void sync_file(fuse_req_t request, fuse_ino_t number, int data_only, struct fuse_file_info *unused) {
  (void)data_only;
  (void)unused;
  struct volume *volume = volume_of(request);
  struct file *file = &inode_of(request, number)->file;
  uint64_t synced = 0;
  int status = -switch_sync(volume);
  if (status == 0)
    status = file_sync(file, &synced);
  if (status != 0)
    file_doom(file);
  atomic_fetch_add(&volume->tally.bytes_synced, synced);
  fuse_reply_err(request, -status);
}

/* ---- Listings and room ---- */

/* Each request opens the directory again: the cookies of the file system below hold beyond that. */
static void list(fuse_req_t request, fuse_ino_t number, size_t size, off_t cookie,
                 struct fuse_file_info *unused) {
  (void)unused;
  const int fd = openat(inode_of(request, number)->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *stream = fd < 0 ? NULL : fdopendir(fd);
  if (!stream) {
    fuse_reply_err(request, errno);
    return;
  }
  if (cookie > 0)
    seekdir(stream, cookie);
  char *buffer = xmalloc(size);
  size_t used = 0;
  for (const struct dirent *entry; (entry = readdir(stream));) {
    const struct stat info = {.st_ino = entry->d_ino, .st_mode = (mode_t)DTTOIF(entry->d_type)};
    const size_t more =
        fuse_add_direntry(request, buffer + used, size - used, entry->d_name, &info, entry->d_off);
    if (more > size - used)
      break;
    used += more;
  }
  closedir(stream);
  fuse_reply_buf(request, buffer, used);
  free(buffer);
}

static void tell_room(fuse_req_t request, fuse_ino_t number) {
  struct statvfs room;
  if (fstatvfs(inode_of(request, number)->fd, &room) != 0) {
    fuse_reply_err(request, errno);
    return;
  }
  if (switch_is_full(volume_of(request)))
    room.f_bfree = room.f_bavail = 0;
  fuse_reply_statfs(request, &room);
}

const struct fuse_lowlevel_ops volume_requests = {
    .init = set_up,
    .lookup = look_up,
    .forget = forget,
    .getattr = get_attributes,
    .setattr = set_attributes,
    .mknod = create,
    .mkdir = make_directory,
    .unlink = remove_name,
    .rmdir = remove_name,
    .rename = move,
    .link = link_to,
    .open = not_worth_asking,
    .opendir = not_worth_asking,
    .read = read_bytes,
    .write = write_bytes,
    .fallocate = set_room_aside,
    .fsync = sync_file,
    .fsyncdir = sync_directory,
    .readdir = list,
    .statfs = tell_room,
};
