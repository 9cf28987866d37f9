// What mpi_checker is to find: each argument is one misuse.

#include <mpi.h>

#include <cstring>

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const char* const misuse = argc > 1 ? argv[1] : "none";
  int numbers[2] = {rank, rank};
  if (std::strcmp(misuse, "other-call") == 0) {
    if (rank == 0) {
      MPI_Barrier(MPI_COMM_WORLD);
    } else {
      MPI_Bcast(numbers, 1, MPI_INT, 0, MPI_COMM_WORLD);
    }
  } else if (std::strcmp(misuse, "other-root") == 0) {
    MPI_Bcast(numbers, 1, MPI_INT, rank, MPI_COMM_WORLD);
  } else if (std::strcmp(misuse, "other-size") == 0) {
    MPI_Allreduce(MPI_IN_PLACE, numbers, rank == 0 ? 1 : 2, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  } else if (std::strcmp(misuse, "communicator") == 0) {
    MPI_Comm copy = MPI_COMM_NULL;
    MPI_Comm_dup(MPI_COMM_WORLD, &copy);
  } else if (std::strcmp(misuse, "window") == 0) {
    MPI_Win window = MPI_WIN_NULL;
    void* base = nullptr;
    MPI_Win_allocate_shared(64, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &base, &window);
  } else if (std::strcmp(misuse, "request") == 0) {
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Isend(numbers, 1, MPI_INT, 1 - rank, 0, MPI_COMM_WORLD, &request);
    MPI_Recv(numbers + 1, 1, MPI_INT, 1 - rank, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  }
  MPI_Finalize();
  return 0;
}
