#include "io/durable_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "kernels/error.hpp"

namespace hack::io {

DurableFile::DurableFile(std::filesystem::path path, Begin begin, std::string advice)
    : path_(std::move(path)),
      advice_(std::move(advice)),
      file_(open(path_.c_str(), O_WRONLY | O_CREAT | (begin == Begin::empty ? O_TRUNC : O_APPEND), 0644)) {
  check(file_ >= 0);
}

DurableFile::~DurableFile() { close(file_); }

void DurableFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    check(written >= 0);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void DurableFile::write(const std::string& text) { write(std::as_bytes(std::span(text))); }

void DurableFile::flush() { check(fdatasync(file_) == 0); }

void DurableFile::check(bool ok) const {
  validate(ok, "cannot write {} ({}); {}", path_.string(), std::strerror(errno), advice_);
}

}  // namespace hack::io
