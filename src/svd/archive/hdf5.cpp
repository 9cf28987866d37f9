#include "svd/archive/hdf5.hpp"

#include <algorithm>

#include "kernels/error.hpp"

namespace hack::svd {
namespace {

/// Errors become exceptions: HDF5 need not print them as well.
void switch_off_printing() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

/// Takes the description nearest to the cause.
herr_t take_first(unsigned depth, const H5E_error2_t* error, void* text) {
  if (depth == 0 && error->desc != nullptr) *static_cast<std::string*>(text) = error->desc;
  return 0;
}

/// Why the last call failed, in HDF5's words.
std::string reason_of_failure() {
  std::string text = "no message";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, &text);
  return text;
}

/// A text of this many bytes; zeros follow where it is shorter.
Hdf5Id string_type(std::size_t bytes) {
  Hdf5Id type(HACK_HDF5(H5Tcopy(H5T_C_S1)));
  HACK_HDF5(H5Tset_size(type.get(), std::max<std::size_t>(bytes, 1)));
  HACK_HDF5(H5Tset_strpad(type.get(), H5T_STR_NULLPAD));
  HACK_HDF5(H5Tset_cset(type.get(), H5T_CSET_UTF8));
  return type;
}

void write_scalar(const Hdf5Id& object, const char* name, hid_t type, const void* value) {
  const Hdf5Id space(HACK_HDF5(H5Screate(H5S_SCALAR)));
  const Hdf5Id attribute(HACK_HDF5(H5Acreate2(object.get(), name, type, space.get(), H5P_DEFAULT, H5P_DEFAULT)));
  HACK_HDF5(H5Awrite(attribute.get(), type, value));
}

/// Opens an attribute that holds one value of the class.
Hdf5Id open_attribute(const Hdf5Id& object, const char* name, H5T_class_t expected) {
  validate(HACK_HDF5(H5Aexists(object.get(), name)) > 0, "attribute '{}' is missing", name);
  Hdf5Id attribute(HACK_HDF5(H5Aopen(object.get(), name, H5P_DEFAULT)));
  const Hdf5Id space(HACK_HDF5(H5Aget_space(attribute.get())));
  const Hdf5Id type(HACK_HDF5(H5Aget_type(attribute.get())));
  validate(H5Sget_simple_extent_npoints(space.get()) == 1 && H5Tget_class(type.get()) == expected,
           "attribute '{}' is of another type than expected", name);
  return attribute;
}

/// Adds the points first … last - 1 of the dimensions from `axis` on to the selection; `start` fixes those before.
void add_range(const Hdf5Id& space, std::span<const index_t> shape, std::size_t axis, std::vector<hsize_t>& start,
               index_t first, index_t last) {
  if (first >= last) return;
  index_t inner = 1;  // points below one index of this axis
  for (std::size_t d = axis + 1; d < shape.size(); ++d) inner *= shape[d];
  const index_t whole_first = (first + inner - 1) / inner;
  const index_t whole_last = last / inner;
  const auto descend = [&](index_t index, index_t from, index_t to) {
    start[axis] = static_cast<hsize_t>(index);
    add_range(space, shape, axis + 1, start, from - index * inner, to - index * inner);
  };
  if (whole_first > whole_last) return descend(whole_last, first, last);  // within one index
  descend(whole_first - 1, first, whole_first * inner);
  if (whole_first < whole_last) {
    std::vector<hsize_t> block(shape.size(), 1);
    start[axis] = static_cast<hsize_t>(whole_first);
    block[axis] = static_cast<hsize_t>(whole_last - whole_first);
    for (std::size_t d = axis + 1; d < shape.size(); ++d) {
      start[d] = 0;
      block[d] = static_cast<hsize_t>(shape[d]);
    }
    const std::vector<hsize_t> one(shape.size(), 1);
    HACK_HDF5(H5Sselect_hyperslab(space.get(), H5S_SELECT_OR, start.data(), nullptr, one.data(), block.data()));
  }
  descend(whole_last, whole_last * inner, last);
}

/// A dataspace of `count` numbers in a row, all or none of them selected.
Hdf5Id memory_space(index_t count) {
  const auto size = static_cast<hsize_t>(std::max<index_t>(count, 1));
  Hdf5Id space(HACK_HDF5(H5Screate_simple(1, &size, nullptr)));
  if (count == 0) HACK_HDF5(H5Sselect_none(space.get()));
  return space;
}

void transfer_contract(const std::vector<index_t>& shape, index_t first, index_t count) {
  index_t size = 1;
  for (index_t extent : shape) size *= extent;
  HACK_EXPECT(!shape.empty() && first >= 0 && count >= 0 && first + count <= size);
}

}  // namespace

hid_t check_hdf5(hid_t result, const char* call, std::source_location at) {
  if (result >= 0) return result;
  fail("{} failed: {} ({}:{})", call, reason_of_failure(), at.file_name(), at.line());
}

Hdf5Id create_parallel_file(const comm::Communicator& comm, const std::filesystem::path& path) {
  switch_off_printing();
  const Hdf5Id access(HACK_HDF5(H5Pcreate(H5P_FILE_ACCESS)));
  HACK_HDF5(H5Pset_fapl_mpio(access.get(), comm.native(), MPI_INFO_NULL));
  const Hdf5Id creation(HACK_HDF5(H5Pcreate(H5P_FILE_CREATE)));
  HACK_HDF5(H5Pset_obj_track_times(creation.get(), false));
  return Hdf5Id(HACK_HDF5(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation.get(), access.get())));
}

Hdf5Id open_file(const std::filesystem::path& path) {
  switch_off_printing();
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file >= 0) return Hdf5Id(file);
  const std::string reason = reason_of_failure();
  validate(reason.find("unable to lock file") == std::string::npos,
           "another program has it open to write, or its file system has no locks (HDF5: {}); end that program, or set "
           "HDF5_USE_FILE_LOCKING=FALSE",
           reason);
  fail("HDF5 cannot open it ({})", reason);
}

Hdf5Id create_group(const Hdf5Id& parent, const std::string& name) {
  const Hdf5Id creation(HACK_HDF5(H5Pcreate(H5P_GROUP_CREATE)));
  HACK_HDF5(H5Pset_obj_track_times(creation.get(), false));
  return Hdf5Id(HACK_HDF5(H5Gcreate2(parent.get(), name.c_str(), H5P_DEFAULT, creation.get(), H5P_DEFAULT)));
}

Hdf5Id create_dataset(const Hdf5Id& parent, const char* name, hid_t type, std::span<const index_t> shape) {
  const std::vector<hsize_t> sizes(shape.begin(), shape.end());
  const Hdf5Id space(HACK_HDF5(H5Screate_simple(static_cast<int>(sizes.size()), sizes.data(), nullptr)));
  const Hdf5Id creation(HACK_HDF5(H5Pcreate(H5P_DATASET_CREATE)));
  HACK_HDF5(H5Pset_obj_track_times(creation.get(), false));
  HACK_HDF5(H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER));
  return Hdf5Id(HACK_HDF5(H5Dcreate2(parent.get(), name, type, space.get(), H5P_DEFAULT, creation.get(), H5P_DEFAULT)));
}

void write_attribute(const Hdf5Id& object, const char* name, const std::string& value) {
  std::string padded = value;
  if (padded.empty()) padded.push_back('\0');
  write_scalar(object, name, string_type(padded.size()).get(), padded.data());
}

void write_attribute(const Hdf5Id& object, const char* name, std::int64_t value) {
  write_scalar(object, name, H5T_STD_I64LE, &value);
}

void write_attribute(const Hdf5Id& object, const char* name, double value) {
  write_scalar(object, name, H5T_IEEE_F64LE, &value);
}

std::string read_string(const Hdf5Id& object, const char* name) {
  const Hdf5Id attribute = open_attribute(object, name, H5T_STRING);
  const Hdf5Id stored(HACK_HDF5(H5Aget_type(attribute.get())));
  validate(H5Tis_variable_str(stored.get()) == 0, "attribute '{}' is not a text of fixed length", name);
  constexpr std::size_t longest = 1 << 20;  // HDF5 keeps at most 64 KiB beside an object
  const std::size_t size = H5Tget_size(stored.get());
  validate(size <= longest, "attribute '{}' is a text of {} bytes", name, size);
  std::string text(size, '\0');
  HACK_HDF5(H5Aread(attribute.get(), stored.get(), text.data()));
  text.resize(std::min(text.size(), text.find('\0')));
  return text;
}

std::int64_t read_integer(const Hdf5Id& object, const char* name) {
  std::int64_t value = 0;
  HACK_HDF5(H5Aread(open_attribute(object, name, H5T_INTEGER).get(), H5T_NATIVE_INT64, &value));
  return value;
}

double read_double(const Hdf5Id& object, const char* name) {
  double value = 0;
  HACK_HDF5(H5Aread(open_attribute(object, name, H5T_FLOAT).get(), H5T_NATIVE_DOUBLE, &value));
  return value;
}

FileRange range_of(const Hdf5Id& dataset) {
  const haddr_t begin = H5Dget_offset(dataset.get());
  if (begin == HADDR_UNDEF) return {};
  return {begin, H5Dget_storage_size(dataset.get())};
}

std::vector<index_t> shape_of(const Hdf5Id& dataset) {
  const Hdf5Id space(HACK_HDF5(H5Dget_space(dataset.get())));
  const hid_t dimensions = HACK_HDF5(H5Sget_simple_extent_ndims(space.get()));
  std::vector<hsize_t> sizes(static_cast<std::size_t>(dimensions));
  HACK_HDF5(H5Sget_simple_extent_dims(space.get(), sizes.data(), nullptr));
  return {sizes.begin(), sizes.end()};
}

void select_range(const Hdf5Id& space, std::span<const index_t> shape, index_t first, index_t last) {
  HACK_HDF5(H5Sselect_none(space.get()));
  std::vector<hsize_t> start(shape.size(), 0);
  add_range(space, shape, 0, start, first, last);
}

void write_range(const Hdf5Id& dataset, hid_t type, index_t first, index_t count, const void* data,
                 index_t bytes_per_call) {
  const std::vector<index_t> shape = shape_of(dataset);
  transfer_contract(shape, first, count);
  const auto item = static_cast<index_t>(H5Tget_size(type));
  const index_t per_call = std::max<index_t>(bytes_per_call / item, 1);
  const Hdf5Id space(HACK_HDF5(H5Dget_space(dataset.get())));
  for (index_t begin = 0; begin < count; begin += per_call) {
    const index_t end = std::min(begin + per_call, count);
    select_range(space, shape, first + begin, first + end);
    HACK_HDF5(H5Dwrite(dataset.get(), type, memory_space(end - begin).get(), space.get(), H5P_DEFAULT,
                       static_cast<const std::byte*>(data) + begin * item));
  }
}

void read_range(const Hdf5Id& dataset, hid_t type, index_t first, index_t count, void* data) {
  const std::vector<index_t> shape = shape_of(dataset);
  transfer_contract(shape, first, count);
  if (count == 0) return;
  const Hdf5Id space(HACK_HDF5(H5Dget_space(dataset.get())));
  select_range(space, shape, first, first + count);
  HACK_HDF5(H5Dread(dataset.get(), type, memory_space(count).get(), space.get(), H5P_DEFAULT, data));
}

}  // namespace hack::svd
