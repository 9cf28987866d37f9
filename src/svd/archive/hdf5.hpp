#pragma once

#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <source_location>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.hpp"
#include "svd/archive/archive_seal.hpp"

namespace hack::svd {

/// Passes the result of an HDF5 call through; throws an Error with HDF5's own message if it is negative.
hid_t check_hdf5(hid_t result, const char* call, std::source_location at = std::source_location::current());

/// Owns one reference to an HDF5 object of any sort (file, group, dataset, type, …). Moves, never copies.
class Hdf5Id {
 public:
  Hdf5Id() = default;
  explicit Hdf5Id(hid_t owned) : id_(owned) {}
  Hdf5Id(Hdf5Id&& other) noexcept : id_(other.release()) {}
  Hdf5Id& operator=(Hdf5Id&& other) noexcept {
    std::swap(id_, other.id_);
    return *this;
  }
  Hdf5Id(const Hdf5Id&) = delete;
  Hdf5Id& operator=(const Hdf5Id&) = delete;
  ~Hdf5Id() {
    if (id_ >= 0) H5Idec_ref(id_);
  }

  hid_t get() const { return id_; }
  /// Gives the reference away without closing it.
  hid_t release() { return std::exchange(id_, H5I_INVALID_HID); }

 private:
  hid_t id_ = H5I_INVALID_HID;
};

/// Creates or replaces a file that all ranks write together, without time stamps. Collective.
Hdf5Id create_parallel_file(const comm::Communicator& comm, const std::filesystem::path& path);

/// Opens a file for reading, this rank by itself.
Hdf5Id open_file(const std::filesystem::path& path);

/// Creates a group without time stamps. Collective on a file of several ranks.
Hdf5Id create_group(const Hdf5Id& parent, const std::string& name);

/// Creates a contiguous dataset without time stamps or fill values. Collective on a file of several ranks.
Hdf5Id create_dataset(const Hdf5Id& parent, const char* name, hid_t type, std::span<const index_t> shape);

/// Writes an attribute; every rank gives the same value. Texts are of fixed length: those of variable length lie in a
/// heap of the file, and HDF5 crashes where that is damaged.
void write_attribute(const Hdf5Id& object, const char* name, const std::string& value);
void write_attribute(const Hdf5Id& object, const char* name, std::int64_t value);
void write_attribute(const Hdf5Id& object, const char* name, double value);

/// Reads an attribute; an Error if there is none or it is of another sort.
std::string read_string(const Hdf5Id& object, const char* name);
std::int64_t read_integer(const Hdf5Id& object, const char* name);
double read_double(const Hdf5Id& object, const char* name);

/// Where the bytes of a contiguous dataset lie in the file; nothing where it has none.
FileRange range_of(const Hdf5Id& dataset);

/// Sizes of a dataset.
std::vector<index_t> shape_of(const Hdf5Id& dataset);

/// Selects the points with numbers first … last - 1 of a dataspace of any rank, counted row by row; nothing if there
/// are none. (Up to 2 d - 1 blocks of d dimensions.)
void select_range(const Hdf5Id& space, std::span<const index_t> shape, index_t first, index_t last);

/// Writes this rank's `count` numbers at points first … first + count - 1 (counted row by row) of a dataset:
///
///     before  rank 0: [a b]   rank 1: []   rank 2: [c]
///     after   dataset: [… a b … c …]
///
/// `type` is their type in memory. Not collective: ranks wait for each other when the file is closed, not at every
/// dataset. In calls of at most `bytes_per_call`, because MPI counts in int.
void write_range(const Hdf5Id& dataset, hid_t type, index_t first, index_t count, const void* data,
                 index_t bytes_per_call = index_t{1} << 30);

/// Reads points first … first + count - 1, as numbers of `type`.
void read_range(const Hdf5Id& dataset, hid_t type, index_t first, index_t count, void* data);

}  // namespace hack::svd

/// Makes an HDF5 call and throws an Error naming it if it fails.
#define HACK_HDF5(call) ::hack::svd::check_hdf5((call), #call)
